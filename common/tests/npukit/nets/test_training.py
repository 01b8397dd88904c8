"""The training loop: its learning rate, and that what it is told to train is trained; models test how it goes on after a kill."""
import pytest
import torch

from npukit.nets.training import Training


def training(epochs: int) -> Training:
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    return Training(net, torch.optim.Adam(net.parameters(), lr=0.1), average=0.5, gradient_norm=1.0,
                    recipe={"epochs": epochs, "seed": 7})


def test_the_rate_warms_up_and_falls_to_zero():
    made = training(1)

    def rate(progress):
        made.set_rate(progress)
        return made.optimizer.param_groups[0]["lr"] / 0.1

    rates = [rate(step / 100) for step in range(101)]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0) and 0.98 < max(rates) <= 1
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak]) and rates[peak:] == sorted(rates[peak:], reverse=True)


def test_it_learns_and_the_curve_says_so(tmp_path, capsys):
    made, x = training(3), torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    drawn = []
    made.run(tmp_path / "last.pt", lambda chance: drawn.append(chance.random()) or list(range(64)),
             lambda row: ((made.net(x[row]) - y[row]) ** 2).sum(),
             lambda net: {"error": float(((net(x) - y) ** 2).mean().detach())})
    assert [line["epoch"]
            for line in made.curve] == [1, 2, 3] and made.curve[-1]["error"] < 0.05 < made.curve[0]["loss"]
    assert len(set(drawn)) == 3, "every epoch has chance of its own"
    assert (tmp_path / "last.pt").exists() and len(capsys.readouterr().out.splitlines()) == 3
    assert made.card(more=1)["more"] == 1 and made.card()["curve"] == made.curve
