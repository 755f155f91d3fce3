#include "app/run/run_notes.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <set>

#include "app/terminal.h"
#include "base/text.h"
#include "config/norm_fit.h"
#include "config/norm_kind.h"
#include "config/recurrent.h"
#include "config/schema.h"
#include "config/validate.h"
#include "data/batch_plan.h"

namespace syncbn::app {
namespace {

std::string Samples(int64_t count) {
  return Plural(count, "sample");
}

class Notes {
 public:
  Notes(const v1::RunSpec& spec, const nn::Model* model, const SplitSizes& splits)
      : spec_(spec),
        model_(model),
        splits_(splits),
        batches_(data::BatchPerReplica(spec.cluster())) {}

  std::vector<RunNote> Make() {
    if (model_ != nullptr) {
      NormBatches();
      GroupNorms();
      SingleNumbers();
      FewSamples();
      Probes();
    }
    if (spec_.model().architecture() == "lenet" &&
        spec_.model().norm().kind() == v1::NORM_KIND_INSTANCE) {
      Note(
          "instance norm in lenet: behind the two convolutions; the hidden layer has none, for its "
          "features have no height and width");
    }
    UselessBiases();
    WithoutEffect();
    LearningRate();
    Limits();
    Steps();
    return std::move(notes_);
  }

 private:
  void Note(std::string text) { notes_.push_back({.text = std::move(text)}); }
  void Warn(std::string text) { notes_.push_back({.text = std::move(text), .warning = true}); }

  int64_t Limited(int64_t samples, int64_t limit) const {
    return limit > 0 ? std::min(samples, limit) : samples;
  }
  int64_t TrainSamples() const { return Limited(splits_.train, spec_.data().train_limit()); }
  int64_t TestSamples() const { return Limited(splits_.test, spec_.data().test_limit()); }

  // Numbers of samples that are not what every group gets.
  void NormBatches() {
    std::set<int64_t> seen;
    for (const nn::NormLayer& norm : model_->norms()) {
      const int64_t asked = norm.spec.batch().samples();
      if (!config::IsOverBatch(norm.spec.kind()) || asked == 0) continue;
      if (!seen.insert(asked).second) continue;
      const auto groups = config::FitNormBatch(norm.spec.batch(), batches_);
      if (!groups || groups->replicas_per_group > 1) continue;
      NormBatch(asked, *groups);
    }
  }

  void NormBatch(int64_t asked, const config::NormGroups& groups) {
    bool as_asked = true, cut = false;
    std::vector<std::string> replicas;
    for (const int64_t batch : std::set<int64_t>(batches_.begin(), batches_.end())) {
      if (batch == 0) continue;
      const std::vector<int64_t> slices =
          config::BalancedSlices(batch, groups.slice_samples.value_or(batch));
      as_asked &= slices.front() == asked && slices.back() == asked;
      cut |= slices.size() > 1;
      replicas.push_back(slices.size() > 1
                             ? std::to_string(batch) + " as " + config::SlicesText(slices)
                             : std::to_string(batch));
    }
    if (as_asked) return;
    Note("a normalization batch of " + Samples(asked) + ": each replica is normalized alone" +
         (cut ? ", in balanced slices of at most as many" : "") +
         "; batches of a replica: " + Join(replicas, ", "));
  }

  using Layers = google::protobuf::RepeatedPtrField<v1::LayerSpec>;

  // Those that were asked for: by itself no layer has one there.
  static void FindUselessBiases(const Layers& layers, const std::string& path,
                                std::vector<std::string>& found) {
    for (int i = 0; i < layers.size(); ++i) {
      const std::string here = path + "." + std::to_string(i);
      const v1::LayerSpec& layer = layers[i];
      const v1::NormKind next =
          i + 1 < layers.size() ? layers[i + 1].norm().kind() : v1::NORM_KIND_NONE;
      // Those that subtract each channel's own mean.
      if (config::IsOverBatch(next) || next == v1::NORM_KIND_INSTANCE) {
        if (layer.has_conv() && layer.conv().bias()) found.push_back(here + ".conv.bias");
        if (layer.has_linear() && layer.linear().bias()) found.push_back(here + ".linear.bias");
      }
      config::ForInnerLayers(layer, here, [&](const Layers& inner, const std::string& at) {
        FindUselessBiases(inner, at, found);
      });
    }
  }

  void UselessBiases() {
    std::vector<std::string> found;
    FindUselessBiases(spec_.model().layers(), "model.layers", found);
    if (found.empty()) return;
    Note(Join(found, ", ") +
         ": directly before a norm, which subtracts it again: it changes nothing, and its gradient "
         "is 0 but for rounding");
  }

  // Whether a field that others may leave without effect has another value than its default: that
  // was asked for.
  static bool Asked(const google::protobuf::Message& message, const char* key) {
    const google::protobuf::FieldDescriptor& field = *message.GetDescriptor()->FindFieldByName(key);
    return config::FieldText(message, field) != config::RulesOf(field).default_value();
  }

  void WithoutEffect(const v1::RecurrentSpec& recurrent, const std::string& path) {
    const v1::NormKind kind = spec_.model().norm().kind();
    if (kind == v1::NORM_KIND_BATCH || !Asked(recurrent, "statistics")) return;
    Note(path +
         ".statistics: changes nothing where model.norm is not `batch`: other norms have no "
         "statistics over samples");
  }

  void WithoutEffect(const v1::NormSpec& norm, const std::string& path) {
    if (norm.kind() == v1::NORM_KIND_BATCH && !config::HasNoise(norm) &&
        Asked(norm.noise(), "spread")) {
      Note(path +
           ".noise.spread: changes nothing beside `shift: 0` and `scale: 1`, with which there "
           "is no noise");
    }
    const int64_t hold = norm.renorm().hold_steps(), steps = RunSteps();
    if (norm.kind() == v1::NORM_KIND_BATCH_RENORM && steps > 0 && hold >= steps) {
      Warn(path + ".renorm.hold_steps: " + std::to_string(hold) + " are all the " +
           Plural(steps, "step") +
           " of the run: it is batch normalization to its end, and r_max, d_max and ramp_steps "
           "change nothing");
    }
  }

  void WithoutEffect(const Layers& layers, const std::string& path) {
    for (int i = 0; i < layers.size(); ++i) {
      const std::string here = path + "." + std::to_string(i);
      if (layers[i].has_norm()) WithoutEffect(layers[i].norm(), here + ".norm");
      if (layers[i].has_rnn()) WithoutEffect(layers[i].rnn(), here + ".rnn");
      if (layers[i].has_lstm()) WithoutEffect(layers[i].lstm(), here + ".lstm");
      config::ForInnerLayers(layers[i], here, [&](const Layers& inner, const std::string& at) {
        WithoutEffect(inner, at);
      });
    }
  }

  // Settings that do nothing beside others of the run.
  void WithoutEffect() {
    const v1::ModelSpec& model = spec_.model();
    if (!model.layers().empty()) return WithoutEffect(model.layers(), "model.layers");
    WithoutEffect(model.norm(), "model.norm");
    if (config::HasRecurrentLayer(model)) WithoutEffect(model.recurrent(), "model.recurrent");
    if (model.dropout() == 0 && Asked(model, "dropout_place")) {
      Note("model.dropout_place: changes nothing while model.dropout is 0");
    }
  }

  // The default is that of sgd: adamw moves each weight by about the rate in every step.
  void LearningRate() {
    constexpr double kDefault = 0.1;
    const double base = spec_.train().learning_rate().base();
    if (spec_.train().optimizer().kind() != v1::OPTIMIZER_KIND_ADAMW || base != kDefault) return;
    Warn(
        "train.learning_rate.base is 0.1, the default, with which adamw moves every weight by about "
        "0.1 in each step: it suits sgd. Usual for adamw are 1.0e-4 to 1.0e-2");
  }

  // Groups that had to fit the channels.
  void GroupNorms() {
    // By asked groups and channels, in the order of the layers.
    std::vector<std::pair<std::pair<int64_t, int64_t>, int>> found;
    int all = 0;
    for (const nn::NormLayer& norm : model_->norms()) {
      if (norm.spec.kind() != v1::NORM_KIND_GROUP) continue;
      ++all;
      const std::pair<int64_t, int64_t> key{norm.spec.groups(), norm.channels};
      const auto same = std::find_if(found.begin(), found.end(),
                                     [&](const auto& entry) { return entry.first == key; });
      if (same == found.end()) {
        found.push_back({key, 1});
      } else {
        ++same->second;
      }
    }
    for (const auto& [key, count] : found) {
      const auto [asked, channels] = key;
      const int64_t groups = config::FittingGroups(channels, asked);
      const std::string where = "in " + std::to_string(count) + " of " + Plural(all, "group norm");
      const std::string over = std::to_string(asked) + " groups over " +
                               Plural(channels, "channel") + ", " + where + ": ";
      if (groups == channels) {
        Note(over + "one channel each, which is instance norm");
      } else if (groups != asked) {
        Note(over + std::to_string(groups) + " groups of " + std::to_string(channels / groups) +
             ", the largest number that divides the channels");
      }
    }
  }

  // The batches of replicas in the smaller last step over so many samples; empty when there is
  // none.
  std::vector<int64_t> LastBatches(int64_t samples, v1::LastBatch last_batch) const {
    if (samples == 0) return {};
    const data::BatchPlan plan(samples, batches_, last_batch);
    const int64_t last = plan.steps_per_epoch() - 1;
    if (plan.Step(last).size() == plan.batch()) return {};
    std::vector<int64_t> sizes;
    for (int replica = 0; replica < plan.replicas(); ++replica) {
      sizes.push_back(plan.Slice(last, replica).size());
    }
    return sizes;
  }

  // Whole batches with single numbers are refused; a last one may have them.
  void SingleNumbers() {
    const auto last_batch = static_cast<v1::LastBatch>(spec_.data().last_batch());
    if (last_batch == v1::LAST_BATCH_KEEP) {
      SingleNumbers(LastBatches(TrainSamples(), last_batch), "an epoch",
                    "Write `data.last_batch: drop`, or give data.train_limit a multiple of the SGD "
                    "batch.");
    }
    const auto& with = spec_.train().evaluate().with();
    if (std::find(with.begin(), with.end(), v1::EVALUATION_MODE_BATCH) == with.end()) return;
    SingleNumbers(LastBatches(TestSamples(), v1::LAST_BATCH_KEEP),
                  "the evaluation with statistics of the batch",
                  "Give data.test_limit a multiple of the SGD batch.");
  }

  void SingleNumbers(const std::vector<int64_t>& batches, const std::string& what,
                     const std::string& hint) {
    if (batches.empty()) return;
    for (const nn::NormLayer& norm : model_->norms()) {
      if (!config::IsOverBatch(norm.spec.kind()) || norm.pixels > 1) continue;
      // The groups are those of a whole batch, whatever the last one holds.
      const auto groups = config::FitNormBatch(norm.spec.batch(), batches_);
      const std::string single = groups ? config::GroupOfOneSample(*groups, batches) : "";
      if (single.empty()) continue;
      int64_t samples = 0;
      for (const int64_t batch : batches) samples += batch;
      Warn("in the last batch of " + what + ", of " + Samples(samples) + ", " + single +
           ": over a single number " + norm.name + " gives the same output for every sample. " +
           hint);
      return;
    }
  }

  // A covariance over no more numbers than it has features has no inverse root but for epsilon.
  void FewSamples() {
    for (const nn::NormLayer& norm : model_->norms()) {
      if (norm.spec.kind() != v1::NORM_KIND_ITERATIVE) continue;
      const auto groups = config::FitNormBatch(norm.spec.batch(), batches_);
      const int64_t features = std::min<int64_t>(norm.channels, norm.spec.group_channels());
      if (!groups) continue;
      const int64_t samples = config::FewestSamples(*groups, batches_);
      if (samples * norm.pixels > features) continue;
      Warn("the iterative norm " + norm.name + " makes " + Plural(features, "channel") +
           " uncorrelated by " + Plural(samples * norm.pixels, "number") +
           " of each: in a covariance of so few nothing is left of some directions, and what is "
           "evaluated with averages, `running` or `precise`, is another model. Give a larger "
           "normalization batch or a smaller group_channels");
      return;
    }
  }

  void Probes() {
    const v1::ProbesSpec& probes = spec_.probes();
    if (probes.noise_scale().every_steps() > 0 && model_->statistics_cross_replicas()) {
      Warn(
          "probes.noise_scale: replicas share the statistics of batch norms, so their gradients are "
          "not independent and the noise scale is biased: its figures come with noise_scale.biased. "
          "A normalization batch of a replica's samples or fewer has no bias");
    }
    if (probes.moments().every_steps() > 0 && model_->running_statistics().size() == 0) {
      Note("probes.moments: the model has no batch norm, so there is nothing to measure");
    }
    if (probes.running_error().every_steps() > 0 &&
        model_->running_statistics().running_blocks().empty()) {
      Note(
          "probes.running_error: the model keeps no running averages, so there is nothing to "
          "measure");
    }
  }

  void Limit(const char* key, int64_t limit, int64_t samples) {
    if (samples == 0 || limit <= samples) return;
    Note(std::string(key) + ": there are " + Samples(samples) + ", fewer than the " +
         std::to_string(limit) + " that it gives: all are used");
  }

  void Limits() {
    Limit("data.train_limit", spec_.data().train_limit(), splits_.train);
    Limit("data.test_limit", spec_.data().test_limit(), splits_.test);
    const v1::EvaluateSpec& evaluate = spec_.train().evaluate();
    const auto& with = evaluate.with();
    if (std::find(with.begin(), with.end(), v1::EVALUATION_MODE_PRECISE) != with.end()) {
      Limit("train.evaluate.precise_samples", evaluate.precise_samples(), TrainSamples());
    }
    if (spec_.probes().running_error().every_steps() > 0) {
      Limit("probes.running_error.samples", spec_.probes().running_error().samples(),
            TrainSamples());
    }
  }

  // Of the whole run; 0 where that is not known.
  int64_t RunSteps() const {
    if (TrainSamples() == 0) return 0;
    const data::BatchPlan plan(TrainSamples(), batches_,
                               static_cast<v1::LastBatch>(spec_.data().last_batch()));
    const int64_t steps = data::StepsOfEpochs(spec_.train().epochs(), plan.steps_per_epoch());
    const int64_t most = spec_.train().max_steps();
    return most > 0 ? std::min(steps, most) : steps;
  }

  // Parts of an epoch that are not whole steps.
  void Steps() {
    if (TrainSamples() == 0) return;
    const data::BatchPlan plan(TrainSamples(), batches_,
                               static_cast<v1::LastBatch>(spec_.data().last_batch()));
    const auto steps = static_cast<double>(plan.steps_per_epoch());
    const auto rounded = [&](const char* key, double epochs, int64_t least) {
      const double exact = epochs * steps;
      const int64_t whole = std::max<int64_t>(least, std::llround(exact));
      // Half a step in many means what it says.
      if (std::abs(exact - static_cast<double>(whole)) <= 0.1 * exact) return;
      Note(std::string(key) + ": " + FormatDouble(epochs) + " epochs of " +
           Plural(plan.steps_per_epoch(), "step") + " are " + Plural(whole, "step"));
    };
    rounded("train.epochs", spec_.train().epochs(), 1);
    rounded("train.learning_rate.warmup_epochs", spec_.train().learning_rate().warmup_epochs(), 0);
    const auto& rate = spec_.train().learning_rate();
    if (rate.schedule() != v1::SCHEDULE_STEP) return;
    for (const double milestone : rate.milestones()) {
      rounded("train.learning_rate.milestones", milestone, 0);
    }
  }

  const v1::RunSpec& spec_;
  const nn::Model* model_;
  const SplitSizes splits_;
  const std::vector<int64_t> batches_;
  std::vector<RunNote> notes_;
};

}  // namespace

std::vector<RunNote> NotesOf(const v1::RunSpec& spec, const nn::Model* model,
                             const SplitSizes& splits) {
  return Notes(spec, model, splits).Make();
}

std::vector<RunNote> NotesOf(const v1::RunSpec& spec) {
  // What only the layers know, where the size of the images is known without reading them.
  const config::KnownData data = config::KnownDataOf(spec.data());
  std::unique_ptr<nn::Model> model;
  if (data.height > 0 && data.classes > 0) {
    model = nn::BuildModelOf(spec, {.height = data.height,
                                    .width = data.width,
                                    .channels = data.channels,
                                    .classes = data.classes});
  }
  return NotesOf(spec, model.get(), {.train = data.train_samples, .test = data.test_samples});
}

void PrintNotes(const std::vector<RunNote>& notes) {
  for (const RunNote& note : notes) {
    if (note.warning) {
      Say(stderr, "syncbn: warning: %s\n", note.text.c_str());
    } else {
      Say(stdout, "note: %s\n", note.text.c_str());
    }
  }
  std::fflush(stdout);
}

}  // namespace syncbn::app
