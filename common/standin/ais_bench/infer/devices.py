"""Several devices: one process each, started together, and the sum of their throughputs."""
import copy
import multiprocessing
import time
from argparse import Namespace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Empty
from threading import BrokenBarrierError

import numpy as np

from ais_bench.infer import batches, benchmark
from standin import messages, om
from standin.cpus import granted_cpus
from standin.messages import logger

START_WAIT_S = 10  # how long a device waits for the others to be warm


def run(args: Namespace) -> int:
    """Run the command line on every device of args.device; 0 when all of them finished, else 1."""
    logger.info("multidevice:%s run begin", args.device)
    context = multiprocessing.get_context("spawn")  # ONNX Runtime's threads do not survive a fork
    messages_queue, barrier = context.Queue(), context.Barrier(len(args.device))
    threads = max(1, granted_cpus() // len(args.device))
    processes = [
        context.Process(target=_run_one, args=(one, index, threads, barrier, messages_queue))
        for index, one in enumerate(_one_each(args))
    ]
    for process in processes:
        process.start()
    said = _collect(processes, messages_queue)
    result = 0 if len(said) == 2 * len(processes) else 1
    logger.info("multidevice run end qsize:%d result:%d", len(said), result)
    outcomes = [message for message in said if isinstance(message, tuple)]
    for index, outcome in outcomes:
        print(
            f"i:{index} device_{args.device[index]} throughput:{outcome.throughput} "
            f"start_time:{outcome.start} end_time:{outcome.end}"
        )
    logger.info("summary throughput:%s", sum(outcome.throughput for _, outcome in outcomes))
    return result


def _one_each(args: Namespace) -> list[Namespace]:
    """Each device's own command line: its output directory and, when divided, its share of the input."""
    directory = args.output_dirname or time.strftime("%Y_%m_%d-%H_%M_%S")
    shares = _shares(args) if args.input and args.divide_input else [args.input] * len(args.device)
    ones = []
    for index, (device, share) in enumerate(zip(args.device, shares)):
        one = copy.copy(args)
        one.device, one.input = device, share
        if args.output:
            one.output_dirname = str(Path(directory) / f"device{device}_{index}")
        ones.append(one)
    return ones


def _shares(args: Namespace) -> list[list[str]]:
    """The input files cut into consecutive shares, one per device."""
    columns = batches.input_files(args.input, len(om.read(args.model).inputs))
    cuts = [np.array_split(np.array(column, dtype=str), len(args.device)) for column in columns]
    return [[str(path) for column in share for path in column] for share in zip(*cuts)]


def _run_one(args: Namespace, index: int, threads: int, barrier: Barrier, said) -> None:
    """One device's process; it says its number when it is warm and its outcome when it has finished."""
    messages.speak(args.debug)
    logger.info("subprocess_%d main run", index)

    def ready() -> None:
        said.put(index)
        try:
            barrier.wait(START_WAIT_S)
        except BrokenBarrierError:
            logger.warning("subprocess_%d does not wait for the others any longer", index)
        logger.info("subprocess_%d ready to infer run", index)

    def finish() -> int:
        said.put((index, benchmark.run(args, benchmark.AIS_BENCH, threads, ready)))
        return 0

    code = messages.exit_code(finish)
    if code:
        barrier.abort()
        logger.error("subprocess run failed error_callback:device %d", args.device)
    raise SystemExit(code)


def _collect(processes: list, said) -> list:
    """All that the processes said until the last one ended."""
    heard = []
    while True:
        alive = any(process.is_alive() for process in processes)
        try:
            heard.append(said.get(timeout=0.2))
        except Empty:
            if not alive:
                return heard
