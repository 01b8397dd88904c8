"""Sentences as the network takes them, in batches of one gear, and the word vectors that come back: one row a word."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

import characters
from npukit.corpus import batches, store
from npukit.corpus.gears import gear_of
from npukit.errors import UserError
from npukit.judge import fidelity, ledger

BATCH = 32  # sentences at a time where nothing else decides
Network = Callable[[int, np.ndarray], np.ndarray]  # (gear, int32 [N, gear, 50]) -> float32 [N, gear, W]


@dataclass(frozen=True)
class Sentences:
    """What preprocess.py wrote.

    samples   of one input, int32 [words, 50]; it is padded with 0, or with what the original's recipe pads with
    seq_lens  the gears
    """

    samples: store.Samples
    seq_lens: list[int]

    @property
    def ids(self) -> np.ndarray:
        """Every word's characters, int32 [words, 50]."""
        return next(iter(self.samples.flat.values()))

    @property
    def lengths(self) -> np.ndarray:
        """The words in each sentence, int64 [sentences]."""
        return self.samples.lengths

    @property
    def filling(self) -> int:
        """The id after a sentence."""
        return next(iter(self.samples.pads.values()), 0)

    def exact(self) -> "Sentences":
        """Return the same sentences with nothing after them that the network takes for words."""
        return Sentences(store.Samples(self.samples.flat, self.lengths), self.seq_lens)

    def batches(self, size: int = BATCH) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (gear, sentence numbers, int32 [N, gear, 50]), shortest sentences first."""
        gears = gear_of(self.lengths, self.seq_lens)
        for number, gear in enumerate(self.seq_lens):
            inside = np.flatnonzero(gears == number)
            for rows in batches.by_length(self.lengths[inside], size):
                yield gear, inside[rows], *self.samples.padded(inside[rows], gear).values()

    def some(self, gear: int) -> np.ndarray:
        """Return a batch to try a gear's graph on, int32 [N, gear, 50]: the first sentences, cut where they are longer."""
        first = np.arange(min(BATCH, len(self.lengths)))
        [batch] = self.samples.padded(first, max(gear, self.lengths[first].max())).values()
        return batch[:, :gear]

    def vectors(self, network: Network, size: int = BATCH) -> np.ndarray:
        """Return every word's vector, float32 [words, W], in the order of the corpus."""
        starts, found = self.samples.starts, None
        for gear, rows, ids in self.batches(size):
            answers = network(gear, ids)
            found = np.zeros((len(self.ids), answers.shape[2]), np.float32) if found is None else found
            for row, answer in zip(rows, answers):
                found[starts[row]:starts[row] + self.lengths[row]] = answer[:self.lengths[row]]
        return found

    def task(self, reference: np.ndarray) -> ledger.Task:
        """Return what the vectors are judged by: their cosines with the reference's."""
        sentence = np.repeat(np.arange(len(self.lengths)), self.lengths)
        return ledger.Task(lambda answers: (answers, sentence), lambda answers: cosines(answers, reference), classes=False)


def cosines(ours: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Return the mean and the smallest cosine of words' vectors, float [words, W]."""
    cosine = fidelity.cosines(ours, reference, np.arange(len(ours)))
    return {"cosine_mean": float(cosine.mean()), "cosine_min": float(cosine.min())}


def read(bin_path: Path) -> Sentences:
    """Return the sentences that preprocess.py was told to write to --bin_path.

    raises  UserError where there are none, or an id is out of 0..261, or a word begins with id 0
    """
    folder = bin_path.parent
    manifest, samples = store.read(folder)
    sentences = Sentences(samples, manifest["plan"]["lengths"])
    ids, lengths = sentences.ids, sentences.lengths
    if ids.dtype != np.int32 or ids.shape[1:] != (characters.CHARACTERS,):
        raise UserError(f"{folder} holds {ids.dtype}{list(ids.shape)} for {lengths.sum()} words, expected int32[words, 50]; "
                        "run preprocess again")
    if wrong := ids[(ids < 0) | (ids >= characters.IDS)][:1].tolist():
        raise UserError(f"{folder} holds the id {wrong[0]}, expected 0 to {characters.IDS - 1}; run preprocess again")
    return sentences


def graph_file(graph: Path, gear: int, seq_lens: list[int]) -> Path:
    """Return the file of a gear's graph: `graph` itself where there is but one gear, else <name>_<gear>.onnx beside it."""
    return graph if len(seq_lens) == 1 else graph.with_name(f"{graph.stem}_{gear}{graph.suffix}")


class Graphs:
    """The graphs of all gears as one Network, run by ONNX Runtime; one is in memory at a time."""

    def __init__(self, graph: Path, seq_lens: list[int]):
        self.graph, self.seq_lens, self.gear, self.session = graph, seq_lens, None, None

    def __call__(self, gear: int, ids: np.ndarray) -> np.ndarray:
        if gear != self.gear:
            self.session = None  # frees the last gear's weights first
            self.session, self.gear = session_of(graph_file(self.graph, gear, self.seq_lens)), gear
        feed = self.session.get_inputs()[0]
        if feed.shape[1:] != [gear, characters.CHARACTERS]:
            raise UserError(f"{self.graph} takes {feed.shape}, the inputs are {list(ids.shape)}; give preprocess and pth2onnx "
                            "the same --word_len")
        size = feed.shape[0] if isinstance(feed.shape[0], int) else len(ids)
        batched = (np.arange(begin, min(begin + size, len(ids))) for begin in range(0, len(ids), size))
        whole = [self.session.run(None, {feed.name: ids[batches.fill(rows, size)]})[0] for rows in batched]
        return np.concatenate(whole)[:len(ids)]


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """Return a session for an ONNX file; one that is missing or no graph is named."""
    if not path.is_file():
        raise UserError(f"{path} is not there; run pth2onnx.py, with the --word_len of the inputs")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the engine's exceptions have no common base but this
        raise UserError(f"{path} is no graph that ONNX Runtime takes: {str(error).splitlines()[0][:200]}") from None
