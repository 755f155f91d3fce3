#include "app/run/console_observer.h"
#include "app/terminal.h"

#include <algorithm>

namespace syncbn::app {

ConsoleObserver::ConsoleObserver(const Options& options) : options_(options), line_(stdout, options.live) {}

void ConsoleObserver::OnStart(const train::RunPlan& plan) {
  plan_ = plan;
  start_ = last_plain_ = std::chrono::steady_clock::now();
}

void ConsoleObserver::OnStep(const train::MetricRecord& record, const train::EpochSums& epoch) {
  rate_ = record.images_per_second.value_or(0);
  if (options_.quiet) return;
  const train::Figures so_far = epoch.Means().value_or(train::Figures());
  const int64_t done = record.step + 1;
  const int64_t in_epoch = record.step % plan_.steps_per_epoch + 1;
  const auto now = std::chrono::steady_clock::now();
  if (line_.live()) {
    const double share = static_cast<double>(done) / static_cast<double>(plan_.end_step);
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const double left = elapsed / static_cast<double>(done - plan_.first_step) *
                        static_cast<double>(plan_.end_step - done);
    line_.Update(
        Format("%s epoch %lld step %lld/%lld  loss %s  accuracy %.1f %%  %s images/s  %s left",
               ProgressBar(share, 16).c_str(), static_cast<long long>(record.epoch + 1),
               static_cast<long long>(in_epoch), static_cast<long long>(plan_.steps_per_epoch),
               Fixed(so_far.loss, 4).c_str(), 100 * so_far.accuracy, Fixed(rate_, 0).c_str(),
               FormatDuration(left).c_str()));
  }
  if (in_epoch == plan_.steps_per_epoch || done == plan_.end_step) {
    PrintEpoch(record, epoch);
  } else if (!line_.live() && now - last_plain_ > std::chrono::seconds(30)) {
    // In a log file: a sign of life.
    last_plain_ = now;
    line_.Print(Format("epoch %lld  step %lld/%lld  loss %s  accuracy %.1f %%  %s images/s",
                       static_cast<long long>(record.epoch + 1), static_cast<long long>(in_epoch),
                       static_cast<long long>(plan_.steps_per_epoch), Fixed(so_far.loss, 4).c_str(),
                       100 * so_far.accuracy, Fixed(rate_, 0).c_str()));
  }
}

void ConsoleObserver::PrintEpoch(const train::MetricRecord& record, const train::EpochSums& epoch) {
  const std::optional<train::Figures> means = epoch.Means();
  std::string text =
      Format("epoch %-3lld  step %-6lld  ", static_cast<long long>(record.epoch + 1),
             static_cast<long long>(record.step + 1)) +
      (means ? Format("train loss %s  accuracy %5.2f %%", Fixed(means->loss, 4).c_str(),
                      100 * means->accuracy)
             : std::string("no step of it was finite")) +
      Format("  rate %.4g  %s images/s", record.learning_rate.value_or(0), Fixed(rate_, 0).c_str());
  if (epoch.skipped > 0) {
    text += Format("  %lld skipped (not finite)", static_cast<long long>(epoch.skipped));
  }
  line_.Print(text);
  last_plain_ = std::chrono::steady_clock::now();
}

void ConsoleObserver::OnEvaluation(const train::MetricRecord& record, double seconds) {
  if (options_.quiet) return;
  const std::string statistics =
      options_.has_batch_norm ? record.evaluation.value_or("running") + " statistics, " : "";
  line_.Print(Format("epoch %-3lld  step %-6lld  test  loss %s  accuracy %5.2f %%  (%s%.1f s)",
                     static_cast<long long>(record.epoch + 1),
                     static_cast<long long>(record.step + 1),
                     Fixed(record.loss.value_or(0), 4).c_str(), 100 * record.accuracy.value_or(0),
                     statistics.c_str(), seconds));
}

void ConsoleObserver::OnCheckpoint(const std::filesystem::path&, int64_t) {}

void ConsoleObserver::OnWarning(const std::string& warning) {
  line_.Clear();
  Say(stderr, "syncbn: warning: %s\n", warning.c_str());
  std::fflush(stderr);
}

std::string QuoteCommand(const std::vector<std::string>& argv) {
  std::string text;
  for (const std::string& word : argv) {
    if (!text.empty()) text += ' ';
    const bool plain = !word.empty() && word.find_first_not_of(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") == std::string::npos;
    if (plain) {
      text += word;
      continue;
    }
    text += '\'';
    for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

}  // namespace syncbn::app
