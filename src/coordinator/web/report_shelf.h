// Reports of studies that were made lately, and the addresses under which they are read.
//
// A frame of a page, and a download, cannot show a token. So whoever may read a study is given an
// address that nobody can guess, which stands for the report as it is now and lasts a minute.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "coordinator/service/http_message.h"

namespace syncbn::coordinator {

struct MadeReport {
  std::string study;         // "studies/3"
  int64_t result_bytes = 0;  // of the results that it is made of
  std::string html, markdown, trials_csv, timings_csv;
  // Why there is none of these results, nor with more of them where that is for good.
  std::optional<HttpAnswer> failure = {};
  bool for_good = false;
  MonotonicTime made;
  MonotonicTime::duration took{0};

  size_t size() const;
};

class ReportShelf {
 public:
  static constexpr std::string_view kPrefix = "/reports/";
  struct Options {
    size_t most_reports = 16;
    // Of all that are there, those included which addresses alone stand for; but for the newest
    // report and that of the newest address.
    size_t most_bytes = size_t{64} << 20;
    size_t most_addresses = 256;
    std::chrono::seconds address_lasts{60};
    const Clock* clock = &Clock::System();
  };

  explicit ReportShelf(Options options) : options_(options) {}

  // The newest of this study; null: none is there.
  std::shared_ptr<const MadeReport> Find(const std::string& study);
  // In the place of an earlier one of its study.
  void Put(std::shared_ptr<const MadeReport> report);

  // "/reports/KEY", below which the report is read as report.html, report.md, trials.csv and
  // timings.csv.
  std::string NewAddress(std::shared_ptr<const MadeReport> report);
  // What is below an address; 404 where it is none, or none any more.
  HttpAnswer Answer(const std::string& path);

 private:
  struct Address {
    std::string key;
    std::shared_ptr<const MadeReport> report;
    MonotonicTime end;
  };

  // What follows is called with the lock.
  size_t Bytes() const;
  void Trim();

  const Options options_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const MadeReport>> reports_;  // by study
  std::deque<std::string> order_;                                     // of their use, oldest first
  std::deque<Address> addresses_;                                     // oldest first
};

// The security policy of a report's page: its own script and style, by their digests, and nothing
// else; in a sandbox, so that it can reach neither the network nor the page around it.
const std::string& ReportPolicy();

}  // namespace syncbn::coordinator
