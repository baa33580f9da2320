"""The Python side of HistogramInteropTests: HdrHistogram logs through Python's hdrhistogram.

    interop.py summary LOG              what hdrhistogram reads, one line for each interval
    interop.py write LOG SEED           a log written by hdrhistogram, and its summary
    interop.py distribution LOG HGRM    holds each line of HGRM against LOG, its intervals added up
"""

import random
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader, HistogramLogWriter

HIGHEST = 3_600_000_000_000


def intervals(path):
    reader = HistogramLogReader(path, HdrHistogram(1, HIGHEST, 3))
    while (histogram := reader.get_next_interval_histogram()) is not None:
        yield reader, histogram
    reader.close()


def buckets(histogram):
    return [
        (item.value_iterated_to, item.count_at_value_iterated_to)
        for item in histogram.get_recorded_iterator()
    ]


def summarize(histogram, start, length):
    # Whole ranks: hdrhistogram rounds a rank to the nearest, the original up.
    points = [0, 25, 50, 75, 100]
    fields = [
        histogram.get_tag() or "-",
        f"{start:.3f}",
        f"{length:.3f}",
        histogram.get_total_count(),
        histogram.get_min_value(),
        histogram.get_max_value(),
        *(histogram.get_value_at_percentile(point) for point in points),
        f"{histogram.get_mean_value():.6e}",
        f"{histogram.get_stddev():.6e}",
        *(f"{value}:{count}" for value, count in buckets(histogram)),
    ]
    print(*fields)


def summary(path):
    for reader, histogram in intervals(path):
        start = histogram.get_start_time_stamp() / 1000 - reader.get_start_time_sec()
        length = (histogram.get_end_time_stamp() - histogram.get_start_time_stamp()) / 1000
        summarize(histogram, start, length)


def write(path, seed):
    source = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        writer = HistogramLogWriter(file)
        writer.output_comment("[written by Python]")
        writer.output_log_format_version()
        file.write("#[StartTime: 1700000000.000 (seconds since epoch), Tue Nov 14 2023]\n")
        writer.output_legend()
        for second in range(5):
            histogram = HdrHistogram(1, HIGHEST, 3)
            for _ in range(400):
                histogram.record_value(source.randrange(1 << source.randrange(1, 41)), 4)
            tag = "-"
            if second % 2:
                tag = "mesh.base"
                file.write(f"Tag={tag},")
                histogram.set_tag(tag)
            start = 1_700_000_000 + second
            writer.output_interval_histogram(histogram, start, start + 1)
            summarize(histogram, second, 1)


def distribution(log, hgrm):
    total = HdrHistogram(1, HIGHEST, 3)
    for _, histogram in intervals(log):
        total.add(histogram)
    recorded = buckets(total)
    count = total.get_total_count()
    lines = 0
    with open(hgrm, encoding="utf-8") as file:
        body = [line.split() for line in file if line[0] != "#" and "Value" not in line]
    for fields in filter(None, body):
        lines += 1
        value, level, below = float(fields[0]), float(fields[1]), int(fields[2])
        # Values are printed in nanoseconds: whole numbers.
        reached = sum(times for highest, times in recorded if highest <= value)
        before = sum(times for highest, times in recorded if highest < value)
        assert any(highest == value for highest, _ in recorded), f"{fields}: no such bucket"
        assert below == reached, f"{fields}: {reached} values lie there"
        assert reached / count >= level - 1e-12, f"{fields}: only {reached} of {count}"
        assert before / count < level or before == 0, f"{fields}: reached before"
    assert lines > 20, f"{lines} lines"
    print("agreed", lines)


if __name__ == "__main__":
    if sys.argv[1] == "summary":
        summary(sys.argv[2])
    elif sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1] == "distribution":
        distribution(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
