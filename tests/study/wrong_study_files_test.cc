// Wrong study files, with what is said of each: place, key, words.
#include "study/study_file.h"

#include <gtest/gtest.h>

#include "tests/study/support.h"

namespace syncbn::study {
namespace {

using testing::FaultOf;
using testing::kAxes;
using testing::kRun;

struct Wrong {
  const char* name;
  std::string text;
  // How a line of the message begins.
  std::string fault;
};

std::vector<Wrong> WrongFiles() {
  const std::string claim = "claims:\n  - ";
  return {
      {"no name", "run: {}\n", "study.yaml:1:1: name: is missing"},
      {"no run", "name: x\n", "study.yaml:1:1: run: is missing"},
      {"unknown key", kRun + "axis: []\n",
       "study.yaml:6:1: axis: unknown key; did you mean `axes`?"},
      {"run is nowhere", "name: x\nrun: no/such.yaml\n", "study.yaml:2:6: run: cannot open "},
      {"run is a number", "name: x\nrun: 3\n", "study.yaml:2:6: run: cannot open "},
      {"run is wrong inside",
       "name: x\nrun:\n  model: {architecture: mlpp}\n  data: {dataset: shapes}\n",
       "study.yaml:3:25: model.architecture: expected one of "},
      {"run lacks its data", "name: x\nrun:\n  model: {architecture: mlp}\n", "study.yaml:3:"},
      {"set of an unknown key", kRun + "set: {trian.epochs: 3}\n",
       "study.yaml:6:7: trian: unknown key; did you mean `train`?"},
      {"set out of range", kRun + "set: {train.epochs: -1}\n",
       "study.yaml:6:7: train.epochs: expected "},
      {"set of nothing", kRun + "set: {train.epochs: }\n",
       "study.yaml:6:7: set.0.value: expected a value, found nothing"},
      {"set twice", kRun + "set: {train.epochs: 1, train.epochs: 2}\n",
       "study.yaml:6:24: set: `train.epochs` is given twice, first in line 6; remove one of them"},
      {"set is a list", kRun + "set: [1]\n",
       "study.yaml:6:6: set: expected a mapping, found a list"},
      {"set of the seed", kRun + "set: {seed: 3}\n", "study.yaml:6:7: set.0: is set by the study"},
      {"sgd_batch is no number", kRun + "set: {sgd_batch: big}\n",
       "study.yaml:6:7: sgd_batch: expected a whole number of samples of at least 1, found big"},
      {"sgd_batch below the replicas", kRun + "set: {sgd_batch: 3}\n",
       "study.yaml:6:7: sgd_batch: 3 samples are not enough for 4 replicas"},
      {"sgd_batch beyond the data",
       kRun.substr(0, kRun.find("shapes}")) + "shapes, shapes: {train_samples: 64}}\n" +
           kRun.substr(kRun.find("shapes}") + 8) + "set: {sgd_batch: 65}\n",
       "study.yaml:6:7: sgd_batch: 65 samples are more than the 64 that there are to train on"},
      {"run in one line is wrong inside",
       "name: x\n# none\nrun: {model: {architecture: mlpp}, data: {dataset: shapes}}\nseeds: 1\n",
       "study.yaml:3:29: model.architecture: expected one of "},
      {"a form that is not chosen",
       kRun + kAxes + "forms: [{name: quick, skip: [{where: {batch: 3}}]}]\n",
       "study.yaml:8:46: forms.0.skip.0.where.0.value: the axis `batch` has no value 3"},
      {"a form that is not chosen, with a clash",
       kRun + kAxes + "tune: {path: train.epochs, log: {from: 1, to: 2, points: 2}, seed: 9}\n" +
           "forms: [{name: quick, set: {train.epochs: 1}}]\n",
       "study.yaml:8:14: tune.path: is what `set` changes, by `train.epochs`"},
      {"steps of a data set of unknown size",
       "name: w\nrun:\n  data: {dataset: mnist, path: x}\n  model: {architecture: mlp}\nset: "
       "{steps: 3}\n",
       "study.yaml:5:7: steps: needs the number of training samples"},
      {"steps below one", kRun + "set: {steps: 0}\n",
       "study.yaml:6:7: steps: expected a whole number of steps of at least 1, found 0"},
      {"steps and epochs", kRun + "set: {steps: 3, train.epochs: 1}\n",
       "study.yaml:6:17: set.1: would overwrite `steps`; remove one of them"},
      {"samples and steps", kRun + "set: {samples: 3, steps: 1}\n",
       "study.yaml:6:19: set.1: would overwrite `samples`; remove one of them"},
      {"processes beyond the replicas", kRun + "set: {processes: 5}\n",
       "study.yaml:6:7: processes: 5 processes for 4 replicas: each process has one replica at "
       "least"},
      {"processes are no number", kRun + "set: {processes: all}\n",
       "study.yaml:6:7: processes: expected a whole number of processes of at least 1, found all"},
      {"rungs that do not rise",
       kRun + "tune: {log: {from: 1, to: 2, points: 2}, halving: {rungs: [0.5, 0.5]}}\n",
       "study.yaml:6:65: tune.halving.rungs.1: is not larger than the rung before"},
      {"a rung of a whole run",
       kRun + "tune: {log: {from: 1, to: 2, points: 2}, halving: {rungs: 1}}\n",
       "study.yaml:6:59: tune.halving.rungs"},
      {"rungs of a data set of unknown size",
       "name: w\nrun:\n  data: {dataset: mnist, path: x}\n  model: {architecture: mlp}\ntune: "
       "{log: {from: "
       "0.1, to: 1, points: 2}, halving: {rungs: 0.5}}\n",
       "study.yaml:5:53: tune.halving: needs the number of training samples"},
      {"tuned by a time",
       kRun + "at_once: 1\ntune: {measure: seconds, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:7:17: tune.measure: a time is never the same twice"},
      {"tuned by a figure without its probe",
       kRun + "tune: {measure: figure foo, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:6:17: tune.measure: there is no probe `foo`"},
      {"tuned by a probe that is off",
       kRun + "tune: {measure: figure moments.bn1.condition, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:6:17: tune.measure: the trials of the study have no probe `moments`"},
      {"tuned by statistics that are not evaluated",
       kRun + "tune: {measure: test_accuracy_precise, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:6:17: tune.measure: the trials of the study are not evaluated so"},
      {"times side by side",
       kRun + kAxes + claim +
           "{text: t, measure: step_ms, arm: {batch: 2}, supported: {above: 1}}\n",
       "study.yaml:9:24: claims.0.measure: times of trials that go on side by side are not theirs"},
      {"points of accuracy that are no shares",
       kRun + kAxes + claim +
           "{text: t, arm: {batch: 2}, against: {batch: 4}, supported: {above: 2}}\n",
       "study.yaml:9:72: claims.0.supported.above: expected a number between -1 and 1 for "
       "accuracies and their differences, found 2"},
      {"equal within all that there is",
       kRun + kAxes + claim +
           "{text: t, arm: {batch: 2}, against: {batch: 4}, equivalent_within: 5}\n",
       "study.yaml:9:72: claims.0.equivalent_within: expected a number between -1 and 1 for "
       "accuracies and their differences, found 5"},
      {"a rank correlation beyond 1",
       kRun + "axes:\n  - {path: model.norm.batch, values: [2, 4, 8]}\n" + claim +
           "{text: t, measure: test_loss, compare: rank_correlation, over: batch, refuted: "
           "{below: -1.5}, supported: {above: 0}}\n",
       "study.yaml:9:92: claims.0.refuted.below: no rank correlation is beyond -1 and 1, found "
       "-1.5"},
      {"a form twice", kRun + "forms: [{name: quick, seeds: 1}, {name: quick}]\n",
       "study.yaml:6:34: forms.1: there is a form `quick` already"},
      {"a form without a name", kRun + "forms: [{seeds: 1}]\n",
       "study.yaml:6:9: forms.0.name: is missing"},
      {"a form of no folder", kRun + "forms: [{name: a/b}]\n",
       "study.yaml:6:16: forms.0.name: expected 1 to 128 letters, digits"},
      {"a form that skips nothing there is",
       kRun + kAxes + "forms: [{name: q, skip: [{where: {batch: 3}}]}]\n",
       "study.yaml:8:42: forms.0.skip.0.where.0.value: the axis `batch` has no value 3"},
      {"along an unknown axis",
       kRun + kAxes + claim + "{text: t, along: {over: rate}, supported: {above: 1}}\n",
       "study.yaml:9:29: claims.0.along.over: there is no axis `rate`"},
      {"along what the arm fixes",
       kRun + kAxes + claim +
           "{text: t, arm: {batch: 2}, along: {over: batch}, supported: {above: 1}}\n",
       "study.yaml:9:46: claims.0.along.over: `arm` fixes the axis `batch`, so that it has one "
       "value"},
      {"the largest of nothing",
       kRun + kAxes + claim +
           "{text: t, along: {over: batch, take: largest_value}, supported: {above: 1}}\n",
       "study.yaml:9:22: claims.0.along: needs `where`: the bounds of the measure"},
      {"bounds that take no effect",
       kRun + kAxes + claim +
           "{text: t, along: {over: batch, where: {above: 1}}, supported: {above: 1}}\n",
       "study.yaml:9:36: claims.0.along.where: has no effect with `take: best` (default)"},
      {"less of nothing",
       kRun + kAxes + claim +
           "{text: t, arm: {batch: 2}, less: {arm: {batch: 2}, against: {batch: 4}}, supported: "
           "{above: 1}}\n",
       "study.yaml:9:5: claims.0: needs `against`: `less` is taken off a difference"},
      {"less of a ratio",
       kRun + kAxes + claim +
           "{text: t, compare: ratio, arm: {batch: 2}, against: {batch: 4}, less: {arm: {batch: "
           "2}, against: {batch: 4}}, supported: {above: 1}}\n",
       "study.yaml:9:69: claims.0.less: has no effect"},
      {"same bits as nothing",
       kRun + kAxes + claim + "{text: t, compare: same_bits, arm: {batch: 2}}\n",
       "study.yaml:9:5: claims.0: needs `against`: what the arm ends in the same bits as"},
      {"same bits by a bound",
       kRun + kAxes + claim +
           "{text: t, compare: same_bits, arm: {batch: 2}, against: {batch: 4}, supported: {above: "
           "1}}\n",
       "study.yaml:9:84: claims.0.supported: has no effect with `compare: same_bits`"},
      {"a range that leaves one value",
       kRun + kAxes + claim +
           "{text: t, compare: log_slope, over: batch, range: {below: 3}, supported: {above: 1}}\n",
       "study.yaml:9:41: claims.0.over: the axis `batch` has 2 values; three are the fewest"},
      {"a target of two kinds",
       kRun + "targets: [{name: a, at_least: 0.5, share_of_best: {share: 0.9}}]\n",
       "study.yaml:6:36: targets.0: `at_least` and `share_of_best` exclude each other"},
      {"a share of an arm that is not there",
       kRun + kAxes + "targets: [{name: a, share_of_best: {share: 0.9, arm: {batch: 3}}}]\n",
       "study.yaml:8:62: targets.0.share_of_best.arm.0.value: the axis `batch` has no value 3"},
      {"a figure without its probe",
       kRun + kAxes + claim +
           "{text: t, measure: figure moments.bn1.condition, arm: {batch: 2}, supported: {above: "
           "1}}\n",
       "study.yaml:9:24: claims.0.measure: the trials of batch 2 have no probe `moments`"},
      {"a figure of two layers",
       kRun + kAxes + claim +
           "{text: t, measure: figure moments.*.condition, arm: {batch: 2}, supported: {above: "
           "1}}\n",
       "study.yaml:9:24: claims.0.measure: there is no measure `figure moments.*.condition`"},
      {"statistics that are not evaluated",
       kRun + kAxes + claim +
           "{text: t, measure: running_gap, arm: {batch: 2}, supported: {above: 1}}\n",
       "study.yaml:9:24: claims.0.measure: the trials of batch 2 are not evaluated so"},
      {"axis without values", kRun + "axes: [{name: a}]\n",
       "study.yaml:6:8: axes.0: has no values"},
      {"axis without path", kRun + "axes: [{values: [1]}]\n",
       "study.yaml:6:8: axes.0: has values and no `path`"},
      {"axis of no values", kRun + "axes: [{path: seed, values: []}]\n",
       "study.yaml:6:29: axes.0.values: the list needs at least 1 element"},
      {"axis of the seed", kRun + "axes: [{path: seed, values: [1]}]\n",
       "study.yaml:6:15: axes.0.path: is set by the study"},
      {"values and a grid",
       kRun + "axes: [{path: a, values: [1], log: {from: 1, to: 2, points: 2}}]\n",
       "study.yaml:6:31: axes.0: `values` and `log` exclude each other; remove one of them"},
      {"path beside cases", kRun + "axes: [{name: n, path: a, cases: [{name: c}]}]\n",
       "study.yaml:6:24: axes.0.path: has no effect beside `cases`"},
      {"cases without a name", kRun + "axes: [{cases: [{name: c}]}]\n",
       "study.yaml:6:8: axes.0: an axis of cases needs a `name`"},
      {"case without a name", kRun + "axes: [{name: n, cases: [{set: {}}]}]\n",
       "study.yaml:6:26: axes.0.cases.0.name: is missing"},
      {"a value twice", kRun + "axes: [{path: model.norm.batch, values: [2, 2]}]\n",
       "study.yaml:6:45: axes.0.values.1: `2` is there twice; remove one of them"},
      {"an axis twice", kRun + kAxes + "  - {name: batch, path: train.epochs, values: [1]}\n",
       "study.yaml:8:5: axes.1: there is an axis `batch` already"},
      {"value out of range", kRun + "axes: [{path: model.norm.batch, values: [2, -4]}]\n",
       "study.yaml:6:45: model.norm.batch: expected "},
      {"value that does not fit", kRun + "axes: [{path: model.norm.batch, values: [8, 24]}]\n",
       "study.yaml:6:45: model.norm.batch.samples: a normalization batch of 24 samples does not "
       "fit "},
      {"grid that falls", kRun + "axes: [{path: train.epochs, log: {from: 2, to: 1, points: 2}}]\n",
       "study.yaml:6:34: axes.0.log: `from` is not less than `to`"},
      {"grid of one", kRun + "axes: [{path: train.epochs, log: {from: 1, to: 2, points: 1}}]\n",
       "study.yaml:6:59: axes.0.log.points: expected a whole number from 2 to 100, found the "
       "number 1"},
      {"grid from 0", kRun + "axes: [{path: train.epochs, log: {from: 0, to: 2, points: 3}}]\n",
       "study.yaml:6:41: axes.0.log.from: expected a number above 0, found the number 0"},
      {"skip of no axis", kRun + kAxes + "skip: [{where: {bach: 2}}]\n",
       "study.yaml:8:17: skip.0.where.0: there is no axis `bach`; did you mean `batch`?"},
      {"skip of no value", kRun + kAxes + "skip: [{where: {batch: 3}}]\n",
       "study.yaml:8:24: skip.0.where.0.value: the axis `batch` has no value 3"},
      {"everything skipped", kRun + kAxes + "skip: [{where: {batch: 2}}, {where: {batch: 4}}]\n",
       "study.yaml: skip: leaves no combination of the axes"},
      {"no seeds", kRun + "seeds: 0\n",
       "study.yaml:6:8: seeds: expected a whole number from 1 to 1000, or a list, each a whole "
       "number of at least 0, or a mapping, found the number 0"},
      {"a seed that is no number", kRun + "seeds: [1, two]\n",
       "study.yaml:6:12: seeds.list.1: expected a whole number"},
      {"an empty list of seeds", kRun + "seeds: []\n",
       "study.yaml:6:8: seeds.list: the list needs at least 1 element"},
      {"a seed twice in a list", kRun + "seeds: [1, 1]\n",
       "study.yaml:6:12: seeds.list.1: 1 is there twice; remove one of them"},
      {"a seed twice", kRun + "seeds: {list: [1, 1]}\n",
       "study.yaml:6:19: seeds.list.1: 1 is there twice; remove one of them"},
      {"tuning without a grid", kRun + "tune: {widen: 1}\n",
       "study.yaml:6:1: tune.log: is missing"},
      {"tuned with a seed of the trials",
       kRun + "tune: {seed: 2, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:6:14: tune.seed: 2 is a seed of the trials, too"},
      {"tuned and an axis",
       kRun + "axes: [{path: train.learning_rate.base, values: [1]}]\n"
              "tune: {log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:7:1: tune.path: is what the axis `base` changes"},
      {"tuned by no measure",
       kRun + "tune: {measure: accuracy, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:6:17: tune.measure: there is no measure `accuracy`"},
      {"target without a value", kRun + "targets: [{name: t}]\n",
       "study.yaml:6:11: targets.0: has no value to reach"},
      {"target twice", kRun + "targets: [{name: t, at_least: 1}, {name: t, at_most: 1}]\n",
       "study.yaml:6:35: targets.1: there is a target `t` already"},
      {"claim without a rule", kRun + kAxes + claim + "{text: c, arm: {batch: 2}}\n",
       "study.yaml:9:5: claims.0: has no rule"},
      {"claim of no measure",
       kRun + kAxes + claim + "{text: c, measure: test_acuracy, supported: {above: 0}}\n",
       "study.yaml:9:24: claims.0.measure: there is no measure `test_acuracy`; did you mean "
       "`test_accuracy`?"},
      {"claim of no value",
       kRun + kAxes + claim + "{text: c, arm: {batch: 5}, supported: {above: 0}}\n",
       "study.yaml:9:28: claims.0.arm.0.value: the axis `batch` has no value 5"},
      {"ratio with nothing",
       kRun + kAxes + claim + "{text: c, compare: ratio, supported: {above: 0}}\n",
       "study.yaml:9:5: claims.0: a ratio needs `against`"},
      {"correlation over nothing",
       kRun + kAxes + claim + "{text: c, compare: rank_correlation, supported: {above: 0}}\n",
       "study.yaml:9:5: claims.0: needs `over`"},
      {"correlation over words",
       kRun + "axes: [{name: n, cases: [{name: a}, {name: b, set: {train.epochs: 2}}]}]\n" + claim +
           "{text: c, compare: rank_correlation, over: n, supported: {above: 0}}\n",
       "study.yaml:8:48: claims.0.over: the values of the axis `n` are no numbers"},
      {"bounds that are none", kRun + kAxes + claim + "{text: c, supported: {}}\n",
       "study.yaml:9:26: claims.0.supported: has no bound"},
      {"bounds the wrong way",
       kRun + kAxes + claim + "{text: c, supported: {above: 1, below: 0}}\n",
       "study.yaml:9:26: claims.0.supported: `above` is not less than `below`"},
      {"two bounds and no other side",
       kRun + kAxes + claim + "{text: c, supported: {above: 0, below: 1}}\n",
       "study.yaml:9:5: claims.0: what lies on the other side of two bounds is not one thing"},
      {"refuted beside equivalence",
       kRun + kAxes + claim + "{text: c, equivalent_within: 1, refuted: {above: 0}}\n",
       "study.yaml:9:46: claims.0.refuted: has no effect beside `equivalent_within`"},
      {"a name that is a path", "name: a/b\nrun: {}\n",
       "study.yaml:1:7: name: expected 1 to 128 letters, digits, `.`, `_` and `-`, the first a "
       "letter or digit"},
      {"a name that is hidden", "name: .a\nrun: {}\n", "study.yaml:1:7: name: expected 1 to 128 "},
      {"an empty name", "name: \"\"\nrun: {}\n", "study.yaml:1:7: name: "},
      {"an axis over two lines",
       kRun + "axes: [{name: \"a\\nb\", path: train.epochs, values: [1]}]\n",
       "study.yaml:6:15: axes.0.name: a name has no line breaks and no control characters"},
      {"a case over two lines", kRun + "axes: [{name: n, cases: [{name: \"a\\nb\"}]}]\n",
       "study.yaml:6:33: axes.0.cases.0.name: a name has no line breaks"},
      {"an empty case", kRun + "axes: [{name: n, cases: [{name: \"\"}]}]\n",
       "study.yaml:6:33: axes.0.cases.0.name: "},
      {"a target over two lines", kRun + "targets: [{name: \"a\\u2028b\", at_least: 1}]\n",
       "study.yaml:6:18: targets.0.name: a name has no line breaks"},
      {"an axis called as a column",
       kRun + "axes: [{name: digest, path: train.epochs, values: [1]}]\n",
       "study.yaml:6:15: axes.0.name: `digest` is another column of trials.csv"},
      {"an axis called as a column by its key", kRun + "axes: [{path: samples, values: [64]}]\n",
       "study.yaml:6:15: axes.0.path: `samples` is another column of trials.csv"},
      {"an axis called as a measure",
       kRun + "axes: [{name: steps_to t, path: train.epochs, values: [1]}]\n"
              "targets: [{name: t, at_least: 1}]\n",
       "study.yaml:6:15: axes.0.name: `steps_to t` is another column of trials.csv"},
      {"a target in percent", kRun + "targets: [{name: t, at_least: 90}]\n",
       "study.yaml:6:31: targets.0.at_least: expected a share above 0, at most 1, found 90"},
      {"a target of nothing", kRun + "targets: [{name: t, at_least: 0}]\n",
       "study.yaml:6:31: targets.0.at_least: expected a share above 0, at most 1, found 0"},
      {"a number twice", kRun + "axes: [{path: train.learning_rate.base, values: [0.1, 0.10]}]\n",
       "study.yaml:6:55: axes.0.values.1: `0.10` is there twice; remove one of them"},
      {"a grid too fine",
       kRun + "axes: [{path: train.epochs, log: {from: 1, to: 1.01, points: 5}}]\n",
       "study.yaml:6:34: axes.0.log: two of its values are the same when they are rounded to three "
       "digits"},
      {"a tuning grid too fine", kRun + "tune: {log: {from: 1, to: 1.001, points: 2}}\n",
       "study.yaml:6:13: tune.log: two of its values are the same"},
      {"the seed is tuned", kRun + "tune: {path: seed, log: {from: 1, to: 4, points: 2}}\n",
       "study.yaml:6:14: tune.path: `seed` cannot be tuned"},
      {"the SGD batch is tuned",
       kRun + "tune: {path: sgd_batch, log: {from: 8, to: 16, points: 2}}\n",
       "study.yaml:6:14: tune.path: `sgd_batch` cannot be tuned"},
      {"tuned and set",
       kRun + "set: {train.learning_rate.base: 1}\ntune: {log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:7:1: tune.path: is what `set` changes, by `train.learning_rate.base` in "
       "study.yaml:6"},
      {"tuned and set above",
       kRun + "set: {train.learning_rate: 1}\ntune: {log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:7:1: tune.path: is what `set` changes, by `train.learning_rate` in "},
      {"tuned and a case below",
       kRun + "axes: [{name: n, cases: [{name: c, set: {train.learning_rate.base: 1}}]}]\n"
              "tune: {path: train.learning_rate, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:7:14: tune.path: is what the axis `n` changes, by `train.learning_rate.base` "},
      {"set and an axis",
       kRun + "set: {train.epochs: 1}\naxes: [{path: train.epochs, values: [2]}]\n",
       "study.yaml:7:38: train.epochs: `set` changes `train.epochs` already, in study.yaml:6; "
       "remove one of them"},
      {"set above what is set", kRun + "set: {train.epochs: 1, train: {epochs: 2}}\n",
       "study.yaml:6:24: set.1: would overwrite `train.epochs`; remove one of them"},
      {"two axes, one above the other",
       kRun + kAxes + "  - {name: n, cases: [{name: c, set: {model.norm: batch}}]}\n",
       "study.yaml:8:39: model.norm: the axis `batch` changes `model.norm.batch` already, in "
       "study.yaml:7"},
      {"the SGD batch and the batches",
       kRun + "set: {cluster.batch_per_replica: 8}\naxes: [{path: sgd_batch, values: [32]}]\n",
       "study.yaml:7:35: sgd_batch: `set` changes `cluster.batch_per_replica` already, in "},
      {"equivalence of a correlation",
       kRun + kAxes + claim +
           "{text: c, compare: rank_correlation, over: batch, equivalent_within: 1}\n",
       "study.yaml:9:74: claims.0.equivalent_within: is of a difference or a ratio"},
      {"a claim on what is tuned",
       kRun + kAxes + "tune: {log: {from: 0.1, to: 1, points: 2}}\n" + claim +
           "{text: c, measure: tuned, arm: {batch: 2}, supported: {above: 0}}\n",
       "study.yaml:10:24: claims.0.measure: a cell has one tuned value"},
      {"against other axes",
       kRun + kAxes + "  - {path: train.epochs, values: [1, 2]}\n" + claim +
           "{text: c, arm: {batch: 2}, against: {epochs: 1}, supported: {above: 0}}\n",
       "study.yaml:10:41: claims.0.against: names other axes than `arm`"},
      {"against itself",
       kRun + kAxes + claim +
           "{text: c, arm: {batch: 2}, against: {batch: 2.0}, supported: {above: 0}}\n",
       "study.yaml:9:41: claims.0.against: is the same as `arm`"},
      {"over what is fixed",
       kRun + kAxes + claim +
           "{text: c, compare: log_slope, over: batch, arm: {batch: 2}, supported: {above: 0}}\n",
       "study.yaml:9:41: claims.0.over: `arm` fixes the axis `batch`"},
      {"supported and refuted at once",
       kRun + kAxes + claim +
           "{text: c, arm: {batch: 2}, supported: {above: 0}, refuted: {above: 0}}\n",
       "study.yaml:9:64: claims.0.refuted: overlaps with `supported`"},
      {"too many at once", kRun + "at_once: 0\n",
       "study.yaml:6:10: at_once: expected a whole number from 1 to 1024, found the number 0"},
  };
}

TEST(StudyFile, WhatIsWrongIsSaidWithPlaceKeyAndWords) {
  for (const Wrong& wrong : WrongFiles()) {
    const std::string found = FaultOf(wrong.text);
    bool there =
        found.starts_with(wrong.fault) || found.find("\n" + wrong.fault) != std::string::npos;
    EXPECT_TRUE(there) << wrong.name << "\n"
                       << wrong.text << "\nexpected\n"
                       << wrong.fault << "\nfound\n"
                       << found;
  }
  EXPECT_GE(WrongFiles().size(), 40u);
}

}  // namespace
}  // namespace syncbn::study
