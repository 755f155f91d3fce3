#include "coordinator/web/report_shelf.h"

#include <openssl/evp.h>

#include <algorithm>
#include <set>

#include "coordinator/control/secret.h"
#include "study/document/html.h"

namespace syncbn::coordinator {
namespace {

std::string Base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

std::string SourceOf(const std::string& text) {
  return "'sha256-" + Base64(HashSecret(text)) + "'";
}

HttpAnswer Page(const std::string& html) {
  return {.type = "text/html; charset=utf-8",
          .headers = {{"Content-Security-Policy", ReportPolicy()}},
          .body = html};
}

// A file to be kept, which no browser shows.
HttpAnswer Download(const MadeReport& report, const std::string& name, const std::string& type,
                    const std::string& text) {
  std::string file = report.study + "-" + name;
  std::ranges::replace(file, '/', '-');
  return {.type = type + "; charset=utf-8",
          .headers = {{"Content-Security-Policy", "default-src 'none'; sandbox"},
                      {"Content-Disposition", "attachment; filename=\"" + file + "\""}},
          .body = text};
}

HttpAnswer FileOf(const MadeReport& report, std::string_view name) {
  if (name == "report.html") return Page(report.html);
  if (name == "report.md") return Download(report, "report.md", "text/markdown", report.markdown);
  if (name == "trials.csv") return Download(report, "trials.csv", "text/csv", report.trials_csv);
  if (name == "timings.csv") return Download(report, "timings.csv", "text/csv", report.timings_csv);
  return {.status = 404,
          .headers = {{"Content-Security-Policy", "default-src 'none'"}},
          .body = "a report has no such file\n"};
}

}  // namespace

size_t MadeReport::size() const {
  return html.size() + markdown.size() + trials_csv.size() + timings_csv.size() +
         (failure ? failure->body.size() : 0);
}

std::shared_ptr<const MadeReport> ReportShelf::Find(const std::string& study) {
  std::lock_guard lock(mutex_);
  const auto found = reports_.find(study);
  if (found == reports_.end()) return nullptr;
  std::erase(order_, study);
  order_.push_back(study);
  return found->second;
}

void ReportShelf::Put(std::shared_ptr<const MadeReport> report) {
  std::lock_guard lock(mutex_);
  const std::string study = report->study;
  std::erase(order_, study);
  order_.push_back(study);
  reports_[study] = std::move(report);
  Trim();
}

size_t ReportShelf::Bytes() const {
  std::set<const MadeReport*> all;
  for (const auto& [study, report] : reports_) all.insert(report.get());
  for (const Address& address : addresses_) all.insert(address.report.get());
  size_t bytes = 0;
  for (const MadeReport* report : all) bytes += report->size();
  return bytes;
}

void ReportShelf::Trim() {
  const auto drop_oldest = [this] {
    reports_.erase(order_.front());
    order_.pop_front();
  };
  while (order_.size() > options_.most_reports) drop_oldest();
  const MonotonicTime now = options_.clock->Monotonic();
  std::erase_if(addresses_, [&](const Address& one) { return one.end <= now; });
  while (Bytes() > options_.most_bytes) {
    // What a newer one has taken the place of goes first.
    const auto replaced = std::ranges::find_if(addresses_, [this](const Address& one) {
      const auto newest = reports_.find(one.report->study);
      return newest == reports_.end() || newest->second != one.report;
    });
    if (replaced != addresses_.end() && &*replaced != &addresses_.back()) {
      addresses_.erase(replaced);
    } else if (order_.size() > 1) {
      drop_oldest();
    } else {
      return;
    }
  }
}

std::string ReportShelf::NewAddress(std::shared_ptr<const MadeReport> report) {
  std::lock_guard lock(mutex_);
  addresses_.push_back({.key = NewSecret(),
                        .report = std::move(report),
                        .end = options_.clock->Monotonic() + options_.address_lasts});
  if (addresses_.size() > options_.most_addresses) addresses_.pop_front();
  Trim();
  return std::string(kPrefix) + addresses_.back().key;
}

HttpAnswer ReportShelf::Answer(const std::string& path) {
  const std::string_view rest = std::string_view(path).substr(kPrefix.size());
  const std::string_view key = rest.substr(0, rest.find('/'));
  std::shared_ptr<const MadeReport> report;
  {
    std::lock_guard lock(mutex_);
    for (const Address& one : addresses_) {
      if (one.end > options_.clock->Monotonic() && SecretsEqual(one.key, key)) report = one.report;
    }
  }
  HttpAnswer answer{.status = 404,
                    .headers = {{"Content-Security-Policy", "default-src 'none'"}},
                    .body =
                        "this address of a report is of no use any more: the page of the study "
                        "has a new one\n"};
  if (report != nullptr && key.size() < rest.size())
    answer = FileOf(*report, rest.substr(key.size() + 1));
  answer.headers.insert(answer.headers.end(), {{"Cache-Control", "no-store"},
                                               {"X-Content-Type-Options", "nosniff"},
                                               {"Referrer-Policy", "no-referrer"},
                                               {"Cross-Origin-Resource-Policy", "same-origin"}});
  return answer;
}

const std::string& ReportPolicy() {
  static const std::string policy =
      "default-src 'none'; script-src " + SourceOf(study::document::PageScriptText()) +
      "; style-src " + SourceOf(study::document::PageStyleText()) +
      "; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox "
      "allow-scripts";
  return policy;
}

}  // namespace syncbn::coordinator
