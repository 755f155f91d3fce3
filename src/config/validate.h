// What a run file must satisfy beyond the types and ranges of its schema: everything that would
// train something else than what stands in the file, or stop only after a while.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "config/diagnostic.h"
#include "config/origin.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::config {

// Fills in what depends on other fields: whether a layer has a bias, the stride of a pool, how and
// on what weight decay acts, how a model without running statistics is evaluated. Fields are left
// as they are where they were given.
void CompleteRunSpec(v1::RunSpec& spec, const Origins& origins);

// Adds a diagnostic for each fault. A rule is silent where a value it needs could not be read.
// `stored`: see ParseStoredRunFile.
void ValidateRunSpec(const v1::RunSpec& spec, const Origins& origins, Diagnostics& diagnostics,
                     bool stored = false);

// -- Parts of ValidateRunSpec
// ------------------------------------------------------------------------

// What a rule sees of a run file, and how it reports.
struct RunCheck {
  const v1::RunSpec& spec;
  const Origins& origins;
  Diagnostics& diagnostics;
  bool stored = false;

  // Whether the run is shorter than its file was made for: what is then never reached is no
  // mistake.
  bool IsShortened() const;
  // Whether all these could be read.
  bool Readable(std::initializer_list<std::string_view> paths) const;
  // At the value of `path`, or where it would stand.
  void Report(const std::string& path, std::string message, std::string hint = "") const;
  // At the key of `path`.
  void ReportKey(const std::string& path, std::string message, std::string hint = "") const;
};

// The data set: where it lies, the size of its images, what is done to them.
void ValidateData(const RunCheck& check);
// model.norm and the norms of hand-written layers: the normalization batch, running statistics.
void ValidateNorms(const RunCheck& check);
// Norms of a model by name that are over a single number, or before a mean that undoes them.
void ValidateNormSizes(const RunCheck& check);
// Hand-written layers: every layer fits the shape it gets, and the last one fits the data set.
void ValidateLayers(const RunCheck& check);
// Models with recurrent layers: the norm within, and the layer of a model by name.
void ValidateRecurrent(const RunCheck& check);
// The optimizer, the learning rate, evaluation, probes.
void ValidateTraining(const RunCheck& check);

// Reports a path at `key` that begins with `~`: that is for shells, and a run file may be read on
// another machine, as another user. False when it did.
bool CheckWholePath(const RunCheck& check, const std::string& key, const std::string& path);
// Reports a norm at `path` over one number a channel and sample, of which some statistic would be
// over a single number in a whole batch; `where` names its input, `other_kinds` what could stand
// there. False when it did.
bool CheckNormElements(const RunCheck& check, const std::string& path, const v1::NormSpec& norm,
                       int64_t channels, const std::string& where,
                       const std::string& other_kinds = "`layer` or `group`");
// Reports what does not fit in the recurrent layer at `path`, whose input has so many rows (0: not
// known).
void CheckRecurrentLayer(const RunCheck& check, const std::string& path,
                         const v1::RecurrentSpec& spec, int64_t rows);
// Whether each channel of each sample is normalized by itself (norm_fit.h), and the report of a
// mean over height and width of such a norm.
bool NormalizesChannelsAlone(const RunCheck& check, const v1::NormSpec& norm, int64_t channels);
void ReportConstantMean(const RunCheck& check, const std::string& path);

// Whether some layer is batch normalization, or a normalization at all.
bool HasBatchNorm(const v1::ModelSpec& model);
bool HasNormLayer(const v1::ModelSpec& model);
// Whether the model can be evaluated in this way, and that differs from `running`.
bool EvaluationFits(const v1::ModelSpec& model, v1::EvaluationMode mode);
// Replicas that have samples in a whole batch.
int ReplicasWithSamples(const v1::ClusterSpec& cluster);
// Whether there are residual blocks that end in a norm with a learned scale.
bool ZeroLastGammaFits(const v1::ModelSpec& model);

// What is known of a data set without reading it; 0 where it is not.
struct KnownData {
  int height = 0, width = 0, channels = 0, classes = 0;
  int64_t train_samples = 0, test_samples = 0;
};
KnownData KnownDataOf(const v1::DataSpec& data);

}  // namespace syncbn::config
