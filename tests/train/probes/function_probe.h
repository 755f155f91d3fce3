// A probe that does what the test wants, and what it is handed in with.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/in_process_run.h"
#include "train/probe.h"

namespace syncbn::train {

// At every step.
class FunctionProbe : public Probe {
 public:
  using Function = std::function<NamedFigures(const ProbedStep& step)>;
  explicit FunctionProbe(Function look) : look_(std::move(look)) {}
  std::string_view name() const override { return "of_the_test"; }
  bool IsDue(int64_t step, bool last) const override { return true; }
  NamedFigures Look(const ProbedStep& step) override { return look_(step); }

 private:
  const Function look_;
};

// One for each process, as every process has its own.
class HandedIn {
 public:
  HandedIn(int processes, const FunctionProbe::Function& look) {
    for (int i = 0; i < processes; ++i) probes_.push_back(std::make_unique<FunctionProbe>(look));
  }
  void operator()(int process, TrainerOptions& options) const {
    options.probes = {probes_.at(static_cast<size_t>(process)).get()};
  }

 private:
  std::vector<std::unique_ptr<FunctionProbe>> probes_;
};

// Shows the steps of a run on one process, of double, to `look`.
inline void LookAtSteps(const std::string& text, const std::function<void(const ProbedStep&)>& look,
                        const std::string& backend = "reference") {
  int looks = 0;
  const HandedIn probe(1, [&](const ProbedStep& step) {
    ++looks;
    look(step);
    return NamedFigures{};
  });
  RunInProcess(RunSpecFromYaml(text),
               {.backend = backend,
                .adjust = [&](int process, TrainerOptions& options) { probe(process, options); }});
  EXPECT_GT(looks, 0);
}

}  // namespace syncbn::train
