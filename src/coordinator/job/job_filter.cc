#include "coordinator/job/job_filter.h"

#include <charconv>
#include <optional>
#include <span>

#include "base/digest.h"
#include "base/text.h"
#include "coordinator/api_error.h"
#include "coordinator/job/job_record.h"

#include <google/protobuf/util/time_util.h>

namespace syncbn::coordinator {
namespace {

const std::vector<std::string> kFields = {"state",    "name",    "submitter",
                                          "priority", "attempt", "create_time",
                                          "end_time", "failure", "labels.KEY"};

constexpr bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\n';
}
constexpr bool IsQuote(char c) {
  return c == '"' || c == '\'';
}
constexpr bool IsOperator(char c) {
  return c == '=' || c == '!' || c == '<' || c == '>' || c == ':';
}

}  // namespace

// More than people write; far fewer than SQLite takes.
constexpr int kMostTerms = 100;

// Recursive descent over `TERM (AND TERM)*`.
class FilterParser {
 public:
  explicit FilterParser(std::string_view text) : text_(text) {}

  JobFilter Run() {
    SkipBlanks();
    if (at_ == text_.size()) return {};
    filter_.sql_.clear();
    for (int terms = 1;; ++terms) {
      if (terms > kMostTerms) Fail(at_, "more than " + std::to_string(kMostTerms) + " terms");
      Term();
      SkipBlanks();
      if (at_ == text_.size()) return std::move(filter_);
      const size_t start = at_;
      if (Word() != "AND") Fail(start, "expected AND between two terms");
      filter_.sql_ += " AND ";
    }
  }

 private:
  [[noreturn]] void Fail(size_t at, const std::string& what) const {
    throw ApiError(ErrorCode::kInvalidArgument, "FILTER_INVALID",
                   "filter, column " + std::to_string(at + 1) + ": " + what + ", in: " +
                       std::string(text_.substr(0, 200)) + (text_.size() > 200 ? "..." : ""));
  }

  void SkipBlanks() {
    while (at_ < text_.size() && IsBlank(text_[at_])) ++at_;
  }

  std::string Word() {
    SkipBlanks();
    const size_t start = at_;
    while (at_ < text_.size() && !IsBlank(text_[at_]) && !IsOperator(text_[at_]) &&
           !IsQuote(text_[at_])) {
      ++at_;
    }
    return std::string(text_.substr(start, at_ - start));
  }

  std::string Operator() {
    SkipBlanks();
    const size_t start = at_;
    while (at_ < text_.size() && IsOperator(text_[at_])) ++at_;
    const std::string op(text_.substr(start, at_ - start));
    for (const char* known : {"=", "!=", "<", "<=", ">", ">=", ":"}) {
      if (op == known) return op;
    }
    Fail(start, "expected an operator (= != < <= > >= or : for contains)");
  }

  std::string ValueText() {
    SkipBlanks();
    value_at_ = at_;
    std::string value;
    if (at_ < text_.size() && IsQuote(text_[at_])) {
      const char quote = text_[at_];
      for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) value += text_[at_];
      if (at_ == text_.size()) Fail(value_at_, "a quote without its end");
      ++at_;
      return value;
    }
    // Unquoted values may hold ':' (times), so they end at a blank only.
    while (at_ < text_.size() && !IsBlank(text_[at_])) value += text_[at_++];
    if (value.empty()) Fail(value_at_, "expected a value");
    return value;
  }

  void Term() {
    SkipBlanks();
    const size_t start = at_;
    const std::string field = Word();
    if (field.empty()) Fail(start, "expected a field (" + JoinAlternatives(kFields) + ")");
    if (field == "state") return State(Operator());
    if (field == "failure") return FailureTerm(Operator());
    if (field == "name") return Text("display_name", Operator());
    if (field == "submitter") return Text("submitter", Operator());
    if (field == "priority" || field == "attempt") return Number(field, Operator());
    if (field == "create_time" || field == "end_time") return TimeTerm(field, Operator());
    if (field.starts_with("labels.") && field.size() > 7) return Label(field.substr(7), Operator());
    const std::string meant = DidYouMean(field, kFields, '\'');
    Fail(start, "no field '" + field + "'" +
                    (meant.empty() ? "; there are " + JoinAlternatives(kFields) : meant));
  }

  void AllowOnly(const std::string& op, std::initializer_list<const char*> allowed) {
    for (const char* one : allowed) {
      if (op == one) return;
    }
    Fail(at_ - op.size(), "operator '" + op + "' does not go with this field");
  }

  void State(const std::string& op) {
    AllowOnly(op, {"=", "!="});
    const std::string value = ValueText();
    const std::string negation = op == "=" ? "" : "NOT ";
    if (value == "open" || value == "ended") {
      const std::string ended = "state >= " + std::to_string(v1::Job::SUCCEEDED);
      filter_.sql_ += negation + (value == "ended" ? ended : "NOT " + ended);
      return;
    }
    std::vector<std::string> names;
    for (int number = v1::Job::QUEUED; number <= v1::Job::CANCELLED; ++number) {
      names.emplace_back(JobStateName(static_cast<JobState>(number)));
      if (names.back() == value) return Compare("state", op, int64_t{number});
    }
    names.insert(names.end(), {"open", "ended"});
    FailUnknown("state", value, names);
  }

  void FailureTerm(const std::string& op) {
    AllowOnly(op, {"=", "!="});
    const std::string value = ValueText();
    std::vector<std::string> names;
    for (int number = v1::Failure::CONFIG; number <= v1::Failure::Class_MAX; ++number) {
      names.emplace_back(FailureClassName(static_cast<FailureClass>(number)));
      if (names.back() == value) return Compare("failure_class", op, int64_t{number});
    }
    FailUnknown("failure class", value, names);
  }

  [[noreturn]] void FailUnknown(const std::string& kind, const std::string& value,
                                const std::vector<std::string>& names) {
    const std::string meant = DidYouMean(value, names, '\'');
    Fail(value_at_, "no " + kind + " '" + value + "'" +
                        (meant.empty() ? "; there are " + JoinAlternatives(names) : meant));
  }

  void Text(const std::string& column, const std::string& op) {
    AllowOnly(op, {"=", "!=", ":"});
    std::string value = ValueText();
    if (op == ":") {
      filter_.sql_ += "instr(lower(" + column + "), lower(?)) > 0";
      filter_.values_.emplace_back(std::move(value));
    } else {
      Compare(column, op, std::move(value));
    }
  }

  void Number(const std::string& column, const std::string& op) {
    AllowOnly(op, {"=", "!=", "<", "<=", ">", ">="});
    const std::string value = ValueText();
    int64_t number = 0;
    const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (code != std::errc() || end != value.data() + value.size()) {
      Fail(value_at_, "expected a whole number, not '" + value + "'");
    }
    Compare(column, op, number);
  }

  void TimeTerm(const std::string& column, const std::string& op) {
    AllowOnly(op, {"<", "<=", ">", ">="});
    const std::string value = ValueText();
    google::protobuf::Timestamp time;
    if (!google::protobuf::util::TimeUtil::FromString(value, &time)) {
      Fail(value_at_, "expected a time such as 2026-01-31T12:00:00Z, not '" + value + "'");
    }
    Compare(column, op, int64_t{FromProto(time).time_since_epoch().count()});
  }

  void Label(std::string key, const std::string& op) {
    AllowOnly(op, {"=", "!=", ":"});
    std::string value = ValueText();
    const std::string same = op == ":" ? "instr(lower(value), lower(?)) > 0" : "value = ?";
    filter_.sql_ += std::string(op == "!=" ? "id NOT IN" : "id IN") +
                    " (SELECT job FROM labels WHERE key = ? AND " + same + ")";
    filter_.values_.emplace_back(std::move(key));
    filter_.values_.emplace_back(std::move(value));
  }

  void Compare(const std::string& column, const std::string& op, JobFilter::Value value) {
    filter_.sql_ += column + " " + op + " ?";
    filter_.values_.push_back(std::move(value));
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t value_at_ = 0;
  JobFilter filter_;
};

JobFilter JobFilter::Parse(std::string_view text) {
  return FilterParser(text).Run();
}

std::string JobFilter::Fingerprint() const {
  Digester digester;
  digester.Add(sql_);
  for (const Value& value : values_) {
    digester.Add("|");
    digester.Add(std::holds_alternative<int64_t>(value) ? std::to_string(std::get<int64_t>(value))
                                                        : std::get<std::string>(value));
  }
  return digester.Finish().Hex().substr(0, 12);
}

}  // namespace syncbn::coordinator
