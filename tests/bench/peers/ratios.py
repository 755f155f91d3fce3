"""Ratios of step times over rounds, with their intervals."""
import math
import statistics

# Student's t, 97.5 %, for 1 to 30 degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
      2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def interval(ratios):
    """The geometric mean and its 95 % interval; of one ratio, that alone."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.fmean(logs)
    if len(logs) == 1:
        return math.exp(mean), None, None
    half = _T[min(len(logs) - 1, len(_T)) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def row(name, turns, ours):
    """What is known of a program: `turns` are the medians of its turns in ms, `ours` those of syncbn in the same rounds."""
    ratio, low, high = interval([a / b for a, b in zip(turns, ours)])
    return {"program": name, "ms": statistics.median(turns), "over_syncbn": ratio, "low": low, "high": high, "turns_ms": turns}


def table(rows):
    """Lines of a table; the first column to the left, the others to the right."""
    text = [("PROGRAM", "MS A STEP", "OVER SYNCBN", "95 %", "PEAK MIB")]
    for one in rows:
        spread = "" if one["low"] is None else f"{one['low']:.2f} to {one['high']:.2f}"
        text.append((one["program"], f"{one['ms']:.1f}", f"{one['over_syncbn']:.2f}", spread, f"{one['peak_mib']:.0f}"))
    widths = [max(len(line[i]) for line in text) for i in range(len(text[0]))]
    return [(line[0].ljust(widths[0]) + "".join("  " + word.rjust(width) for word, width in zip(line[1:], widths[1:]))).rstrip()
            for line in text]
