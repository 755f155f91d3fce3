"""The statistics of random samples, computed by SciPy: a JSON list of cases for scipy_test.cc.

Usage: scipy_table.py RESAMPLES

RESAMPLES: what the bootstrap draws, so that it can be computed with the same: for each n of BOOTSTRAPPED the
indices of the 10,000 resamples, as 32-bit numbers. Ends with status 77 and the reason where SciPy is missing.
"""
import itertools
import json
import sys

try:
    import numpy as np
    from scipy import stats
except ImportError as error:
    print(f"{error}; install what launch/packages-test.txt lists")
    sys.exit(77)

RESAMPLES = 10000
BOOTSTRAPPED = (10, 17, 40)
FEW = range(2, 10)

rng = np.random.default_rng(20261129)
cases = []


def case(function, expected, scale=None, **arguments):
    """`scale`: by how much roundings of the arguments may show; by default their size."""
    arguments = {name: np.asarray(value, dtype=float).tolist() for name, value in arguments.items()}
    if scale is None:
        scale = max([1e-300] + [abs(v) for value in arguments.values() for v in np.atleast_1d(value)])
    cases.append({"function": function, "scale": float(scale),
                  "expected": [float(v) for v in np.atleast_1d(expected)], **arguments})


def samples(n):
    """Of several kinds; on a grid of powers of two, so that equal sums are equal in any order."""
    kinds = [lambda: rng.normal(size=n), lambda: np.exp(rng.normal(size=n)), lambda: rng.integers(0, 4, n),
             lambda: 1e4 + rng.normal(size=n), lambda: rng.standard_t(2, size=n), lambda: rng.exponential(5, n)]
    for draw in kinds:
        drawn = np.round(np.asarray(draw(), dtype=float) * 2.0**20) / 2.0**20
        if np.ptp(drawn) == 0:
            drawn[0] += 1
        yield drawn


def t_quantile(p, degrees):
    """SciPy's is good to 1e-9; one step of Newton's by its distribution function, which is exact, makes it so."""
    t = stats.t.ppf(p, degrees)
    return t - (stats.t.cdf(t, degrees) - p) / stats.t.pdf(t, degrees)


def by_t(x, level):
    if np.ptp(x) == 0:
        return [x[0]] * 3
    half = t_quantile((1 + level) / 2, len(x) - 1) * stats.sem(x)
    return [np.mean(x) - half, np.mean(x), np.mean(x) + half]


class Drawn(np.random.Generator):
    """A generator that draws the given indices."""

    def __init__(self, indices):
        super().__init__(np.random.PCG64(0))
        self.indices = indices

    def integers(self, *_, **__):
        return self.indices


def by_bootstrap(x, level, indices):
    n = len(x)
    tail = np.sqrt(n / (n - 1)) * t_quantile((1 + level) / 2, n - 1)
    found = stats.bootstrap((np.sort(x),), np.mean, confidence_level=1 - 2 * stats.norm.sf(tail), method="BCa",
                            n_resamples=RESAMPLES, random_state=Drawn(indices), vectorized=True)
    return [found.confidence_interval.low, np.mean(x), found.confidence_interval.high]


def tost(d, margin, alpha):
    if np.ptp(d) == 0:
        p = float(abs(d[0]) >= margin)
    else:
        p = max(stats.ttest_1samp(d, -margin, alternative="greater").pvalue,
                stats.ttest_1samp(d, margin, alternative="less").pvalue)
    inner, outer = by_t(d, 1 - 2 * alpha), by_t(d, 1 - alpha)
    return [inner[0], inner[2], outer[0], outer[2], p]


def spearman(x, y, level):
    n = len(x)
    rho, p = stats.spearmanr(x, y)
    if n < 10:
        # Twice the ranks: integers, so that "as large" is exact.
        a = np.rint(2 * stats.rankdata(x)).astype(int) - (n + 1)
        b = np.rint(2 * stats.rankdata(y)).astype(int) - (n + 1)
        pairings = np.array(list(itertools.permutations(b))) @ a
        p = np.mean(np.abs(pairings) >= abs(a @ b))
    if n < 4:
        return [-1, rho, 1, p]
    inside = np.clip(rho, -(1 - 6 / (n**3 - n)), 1 - 6 / (n**3 - n))
    deviation = np.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = np.tanh(stats.norm.interval(level, loc=np.arctanh(inside), scale=deviation))
    return [min(low, rho), rho, max(high, rho), p]


def slope(x, y, level):
    line = stats.linregress(x, y)
    half = line.stderr * t_quantile((1 + level) / 2, len(x) - 2)
    return [line.slope - half, line.slope, line.slope + half]


resamples = {}
drawn = np.fromfile(sys.argv[1], dtype=np.uint32)
for n in BOOTSTRAPPED:
    resamples[n], drawn = drawn[:RESAMPLES * n].reshape(RESAMPLES, n), drawn[RESAMPLES * n:]
assert drawn.size == 0

for degrees in (1, 2, 3, 4, 9, 30, 200):
    for p in (1e-9, 0.005, 0.025, 0.3, 0.5, 0.77, 0.975, 0.9995):
        case("students_t_quantile", t_quantile(p, degrees), scale=1, p=p, degrees=degrees)
    for t in (-40, -2.5, -1, 0, 0.1, 3, 12):
        case("students_t_cdf", stats.t.cdf(t, degrees), scale=0, t=t, degrees=degrees)
for p in (1e-12, 0.001, 0.025, 0.4, 0.5, 0.9, 0.99999):
    case("normal_quantile", stats.norm.ppf(p), scale=1, p=p)
    case("normal_cdf", stats.norm.cdf(stats.norm.ppf(p)), scale=0, z=stats.norm.ppf(p))

for n in (*FEW, *BOOTSTRAPPED):
    for level in (0.95, 0.8):
        interval = (lambda x: by_t(x, level)) if n < 10 else (lambda x: by_bootstrap(x, level, resamples[n]))
        for a, b in zip(samples(n), samples(n)):
            case("mean", interval(a), a=a, level=level)
            case("students", by_t(a, level), a=a, level=level)
            case("paired_difference", interval(a - b), a=a, b=b, level=level)
            if n < 10:
                one, other = np.exp(a / 1e4), np.exp(b / 1e4)
                case("paired_ratio", np.exp(interval(np.log(one) - np.log(other))), a=one, b=other, level=level)
    for a, b in zip(samples(n), samples(n)):
        for margin in (0.3, 2):
            for alpha in (0.05, 0.01):
                case("equivalence", tost(a - b, margin, alpha), a=a, b=b, margin=margin, alpha=alpha)
        near = a + np.abs(a).max() * rng.normal(size=n) * 0.01
        case("equivalence", tost(a - near, 0.05 * np.abs(a).max(), 0.05), a=a, b=near,
             margin=0.05 * np.abs(a).max(), alpha=0.05)
        if n >= 3:
            x = a + rng.normal(size=n)
            case("slope", slope(x, b, 0.95), scale=np.abs(b).max() / x.std() * 1e2, x=x, y=b, level=0.95)
            u, v = np.exp(x - x.mean()), np.exp(rng.normal(size=n))
            case("log_log_slope", slope(np.log10(u), np.log10(v), 0.9), x=u, y=v, level=0.9)
        for p in (0, 0.025, 0.3, 0.5, 0.99, 1):
            case("quantile", np.quantile(a, p), a=a, p=p)
        case("median", np.median(a), a=a)
        case("median_absolute_deviation", stats.median_abs_deviation(a), a=a)

for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 40, 300):
    for repeat in range(8 if n != 8 else 2):
        x = rng.normal(size=n)
        for y in (rng.normal(size=n), x + rng.normal(size=n), -x**3, np.round(x + rng.normal(size=n))):
            for left, right in ((x, y), (np.round(x), y)):
                if np.ptp(left) and np.ptp(right):
                    case("spearman", spearman(left, right, 0.95), scale=1e-3, x=left, y=right, level=0.95)

json.dump(cases, sys.stdout, allow_nan=False)
