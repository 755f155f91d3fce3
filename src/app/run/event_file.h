// What TensorBoard shows of a run: a file beside metrics.jsonl with the same figures, as scalars,
// and with histograms where probes look at values.
//
// Tags are the names of the coordinator's series (metric_points.h), so that a curve is called the
// same in both, but:
//   time/step_ms        the wall time of a step, the sum of its parts
//   PROBE/...           figures by name, in a group of their own: activations.conv1.mean is
//   activations/conv1.mean parameters/NAME, gradients/NAME    histograms (histogram_probe.h)
// A value is a float, as all of TensorBoard's own tools read it; metrics.jsonl has the double.
//
// The figures stand in metrics.jsonl as well, so nothing of this ends a run: what is wrong is a
// warning.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/clock.h"
#include "base/descriptor.h"
#include "syncbn/tensorboard/event.pb.h"
#include "train/metric_record.h"

namespace syncbn::app {

struct EventFileOptions {
  // The run's output folder.
  std::filesystem::path folder;
  // What TensorBoard has of this step and later ones, from earlier files of the folder, it is to
  // forget.
  int64_t first_step = 0;
  // Which statistics have no name of their own; see PointsOf.
  std::string evaluation;
  // May be empty.
  std::function<void(const std::string& warning)> on_warning;
};

// Whether a file of this name is one of a run, not of another program.
bool IsEventFile(const std::string& name);

// `events.out.tfevents.TIME.HOST.syncbn`. TensorBoard reads the files of a folder in the order of
// their names, so TIME is the second in which it was made, or the one after that of the newest file
// there. Records go to the operating system whole and at once. What does not fit on a full disk
// waits in memory, up to kMostWaiting bytes; beyond that the file ends. Not thread-safe.
class EventFile {
 public:
  static constexpr size_t kMostWaiting = 4 << 20;

  explicit EventFile(EventFileOptions options, Clock& clock = Clock::System());

  void Write(const train::MetricRecord& record);
  void WriteHistogram(int64_t step, const std::string& tag, tensorboard::HistogramProto histogram);
  // Syncs it to the disk.
  void Flush();
  // Empty where there is none.
  const std::filesystem::path& path() const { return path_; }

 private:
  void Open();
  void Append(tensorboard::Event event);
  // False: errno says why; all is in waiting_ still.
  bool WriteWaiting();
  void Warn(const std::string& warning) const;

  const EventFileOptions options_;
  Clock& clock_;
  std::filesystem::path path_;
  // None: not opened, or given up.
  Descriptor file_;
  // Bytes of whole records in the file, and records that are not.
  int64_t length_ = 0;
  std::string waiting_;
  // The file is longer than length_.
  bool torn_ = false;
  bool failing_ = false;
};

}  // namespace syncbn::app
