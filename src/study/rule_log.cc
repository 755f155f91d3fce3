#include "study/rule_log.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "base/untrusted_json.h"

namespace syncbn::study {
namespace {

using Json = nlohmann::json;

std::string DigestOfRules(const v1::StudySpec& study) {
  v1::StudySpec rules;
  *rules.mutable_claims() = study.claims();
  *rules.mutable_targets() = study.targets();
  const std::string text = rules.ShortDebugString();
  return DigestOf(std::as_bytes(std::span(text))).Hex().substr(0, 16);
}

std::string LineOf(const RuleRecord& record) {
  return Json{{"date", record.date}, {"results", record.results}, {"rules", record.rules}}.dump() +
         "\n";
}

}  // namespace

std::vector<RuleRecord> ReadRules(const std::filesystem::path& path) {
  std::vector<RuleRecord> records;
  if (!std::filesystem::exists(path)) return records;
  std::istringstream text(ReadFile(path));
  for (std::string line; std::getline(text, line);) {
    try {
      const Json json = ParseUntrustedJson<Json>(line);
      records.push_back({.date = json.at("date").get<std::string>(),
                         .results = json.at("results").get<int64_t>(),
                         .rules = json.at("rules").get<std::string>()});
    } catch (const std::exception& error) {  // JsonFault, or an entry that is missing
      throw Error(ErrorCode::kDataLoss, path.string() + ": line " +
                                            std::to_string(records.size() + 1) +
                                            " is damaged: " + error.what());
    }
  }
  return records;
}

void NoteRules(const std::filesystem::path& path, const v1::StudySpec& study, int64_t results,
               const std::string& date) {
  std::vector<RuleRecord> records = ReadRules(path);
  const std::string rules = DigestOfRules(study);
  if (!records.empty() && records.back().rules == rules) return;
  records.push_back({.date = date, .results = results, .rules = rules});
  std::string text;
  for (const RuleRecord& record : records) text += LineOf(record);
  WriteFileAtomically(path, text);
}

std::string RulesRemark(const std::vector<RuleRecord>& rules) {
  for (size_t i = rules.size(); i-- > 1;) {
    if (rules[i].results == 0) continue;
    return "The rules were changed after " + Plural(rules[i].results, "trial") + " had ended (" +
           rules[i].date.substr(0, 10) + "): the verdicts are not of rules that stood before.";
  }
  return "";
}

}  // namespace syncbn::study
