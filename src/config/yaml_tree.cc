#include "config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "config/yaml_text.h"

namespace syncbn::config {
namespace {

// Leaves yaml-cpp; what is wrong has been reported.
struct Stop {};

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(std::shared_ptr<const Source> source, size_t begin, const YamlLimits& limits,
              Diagnostics& diagnostics)
      : source_(std::move(source)),
        begin_(begin),
        limits_(limits),
        diagnostics_(diagnostics),
        text_(std::string_view(source_->text()).substr(begin)) {}

  // After an open quotation mark nothing is what it seems.
  YamlNode TakeRoot() {
    ReportSeveralLines();
    if (quote_reported_) root_.kind = YamlNode::Kind::kDamaged;
    return std::move(root_);
  }

  // The place of a byte position of the parsed text.
  Location At(size_t position) const { return {source_, begin_ + position}; }

  // Reports what yaml-cpp could not read.
  void ReportSyntax(const YAML::ParserException& error) {
    if (quote_reported_) return;  // what follows an open quotation mark makes no sense
    const size_t at = std::min(PositionOf(error.mark), text_.size());
    if (error.msg == YAML::ErrorMsg::EOF_IN_SCALAR) {
      ReportQuote(FindOpenQuote(text_, last_position_).value_or(at));
      return;
    }
    if (const std::optional<size_t> star = FindAlias(error.msg, text_, at)) {
      const std::string word(text_.substr(*star, text_.find_first_of(" ,]}\r\n", *star) - *star));
      diagnostics_.Add(At(*star), "", "`" + word + "` is an alias in YAML, and there is none here",
                       "A text that begins with `*` is put in quotation marks: '" + word + "'." +
                           (begin_ > 0 ? " A shell takes those away: with others around the whole, "
                                         "--set \"KEY='" +
                                             word + "'\"."
                                       : ""));
      return;
    }
    const SyntaxFault fault = DescribeSyntaxFault(error.msg, text_, at);
    if (!stack_.empty() && IsFlow(stack_.back().position)) {
      const size_t opened = stack_.back().position;
      const char close = text_[opened] == '[' ? ']' : '}';
      const bool mismatched = fault.closes && at < text_.size() && text_[at] != close;
      if (fault.unclosed || mismatched) {
        diagnostics_.Add(At(opened), "",
                         std::string("this `") + text_[opened] + "` is not closed: expected `" +
                             close + "` or `,` before line " + std::to_string(At(at).line()) +
                             ", column " + std::to_string(At(at).column()));
        return;
      }
    }
    diagnostics_.Add(At(at), "", fault.message, fault.hint);
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ == 0) return;
    const size_t at = PositionOf(mark);
    if (text_.substr(at).starts_with("---")) {
      diagnostics_.Add(At(at), "", "a second document starts here; a file holds one");
    } else {
      diagnostics_.Add(At(at), "", "this does not belong to what stands above it",
                       "Check its indentation: the keys of one mapping start in the same column.");
    }
    throw Stop();
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    Put(MakeNode(YamlNode::Kind::kNull, PositionOf(mark)));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    const size_t at = PositionOf(mark);
    diagnostics_.Add(At(at), "", "aliases (`*name`) are not supported; write the value out");
    Put(MakeNode(YamlNode::Kind::kDamaged, at));
  }

  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    diagnostics_.Add(At(PositionOf(mark)), "",
                     "anchors (`&" + name + "`) are not supported; remove it");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const size_t at = PositionOf(mark);
    YamlNode node = MakeNode(YamlNode::Kind::kScalar, at);
    node.text = value;
    node.quoted = tag == "!";
    if (ReportTag(tag, at) || anchor != 0) {
      node.kind = YamlNode::Kind::kDamaged;
    } else if (node.quoted) {
      CheckQuoted(at, node);
    } else if (text_.substr(at, value.size()) != value) {
      several_lines_ = at;
      node.kind = YamlNode::Kind::kDamaged;
    }
    Put(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kSequence, mark, tag);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, mark, tag);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Level {
    YamlNode node;
    size_t position = 0;
    std::optional<YamlNode> key;  // of a map, when its value comes next
  };

  size_t PositionOf(const YAML::Mark& mark) const {
    return mark.is_null() ? 0 : std::min(static_cast<size_t>(mark.pos), text_.size());
  }

  bool IsFlow(size_t at) const {
    return at < text_.size() && (text_[at] == '[' || text_[at] == '{');
  }

  // Waits for what comes next: where that cannot be read, it is the better place to report.
  void ReportSeveralLines() {
    if (!several_lines_) return;
    diagnostics_.Add(At(*several_lines_), "", "this text goes on over several lines",
                     "Write it on one line; or, where the next line is meant to be a key, check "
                     "the indentation and the `:`.");
    several_lines_.reset();
  }

  YamlNode MakeNode(YamlNode::Kind kind, size_t at) {
    ReportSeveralLines();
    last_position_ = at;
    YamlNode node;
    node.kind = kind;
    node.location = At(at);
    return node;
  }

  // True when the node has a tag.
  bool ReportTag(const std::string& tag, size_t at) {
    if (at >= text_.size() || text_[at] != '!') return false;
    diagnostics_.Add(At(at), "",
                     "tags (`" + (tag.size() > 1 ? tag : "!") + "`) are not supported; remove it");
    return true;
  }

  void ReportQuote(size_t at) {
    quote_reported_ = true;
    diagnostics_.Add(At(at), "", "this quotation mark is not closed on its line");
  }

  void CheckQuoted(size_t at, YamlNode& node) {
    if (at >= text_.size()) return;
    if (text_[at] == '|' || text_[at] == '>') {
      diagnostics_.Add(At(at), "",
                       "blocks of text (`|` and `>`) are not supported; write the text "
                       "on one line");
      node.kind = YamlNode::Kind::kDamaged;
    } else if (!ClosingQuote(text_, at)) {
      ReportQuote(at);
      node.kind = YamlNode::Kind::kDamaged;
    }
  }

  void Open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag) {
    const size_t at = PositionOf(mark);
    if (stack_.size() >= static_cast<size_t>(limits_.most_depth)) {
      diagnostics_.Add(At(at), "",
                       "nested deeper than " + std::to_string(limits_.most_depth) + " levels");
      throw Stop();
    }
    ReportTag(tag, at);
    stack_.push_back({.node = MakeNode(kind, at), .position = at, .key = std::nullopt});
  }

  void Close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    Put(std::move(node));
  }

  void Put(YamlNode node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = stack_.back();
    if (level.node.kind == YamlNode::Kind::kSequence) {
      level.node.items.push_back(std::move(node));
    } else if (!level.key) {
      if (node.kind != YamlNode::Kind::kScalar && node.kind != YamlNode::Kind::kDamaged) {
        diagnostics_.Add(node.location, "", "a key must be a word");
        node.kind = YamlNode::Kind::kDamaged;
      }
      level.key = std::move(node);
    } else {
      // yaml-cpp puts an empty value where the next token starts, maybe lines below its key.
      if (node.kind == YamlNode::Kind::kNull) node.location = level.key->location;
      level.node.keys.push_back(std::move(*level.key));
      level.node.items.push_back(std::move(node));
      level.key.reset();
    }
  }

  std::shared_ptr<const Source> source_;
  size_t begin_;
  YamlLimits limits_;
  Diagnostics& diagnostics_;
  std::string_view text_;
  std::vector<Level> stack_;
  YamlNode root_;
  size_t last_position_ = 0;
  int documents_ = 0;
  std::optional<size_t> several_lines_;
  bool quote_reported_ = false;
};

}  // namespace

YamlNode ParseYaml(const std::shared_ptr<const Source>& source, Diagnostics& diagnostics,
                   size_t begin, const YamlLimits& limits) {
  YamlNode damaged;
  damaged.kind = YamlNode::Kind::kDamaged;
  damaged.location = {source, std::nullopt};
  if (source->text().size() > limits.most_bytes) {
    diagnostics.Add(damaged.location, "",
                    "has " + Plural(static_cast<long long>(source->text().size()), "byte") +
                        "; at most " + std::to_string(limits.most_bytes) + " are read");
    return damaged;
  }
  const size_t before = diagnostics.all().size();
  CheckRawText(source, begin, diagnostics);
  if (diagnostics.all().size() > before) return damaged;

  TreeBuilder builder(source, begin, limits, diagnostics);
  std::istringstream stream(source->text().substr(begin));
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop&) {
    return damaged;
  } catch (const YAML::ParserException& error) {
    builder.ReportSyntax(error);
    return damaged;
  } catch (const YAML::Exception& error) {  // its own limit of depth
    diagnostics.Add(damaged.location, "", "cannot be read as YAML: " + error.msg);
    return damaged;
  }
  return builder.TakeRoot();
}

}  // namespace syncbn::config
