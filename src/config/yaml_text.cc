#include "config/yaml_text.h"

#include <yaml-cpp/exceptions.h>

#include <algorithm>

#include "base/text.h"
#include "config/character.h"

namespace syncbn::config {
namespace {

// Reports the first byte that cannot stand in the text. False when there is one.
bool CheckCharacters(const std::shared_ptr<const Source>& source, size_t begin,
                     Diagnostics& diagnostics) {
  const std::string_view text = source->text();
  if (text.substr(begin).starts_with("\xef\xbb\xbf")) {
    diagnostics.Add({source, begin}, "", "starts with a byte order mark; save it without");
    return false;
  }
  for (size_t i = begin; i < text.size();) {
    const size_t length = Utf8CharacterLength(text.substr(i));
    const char c = text[i];
    const char32_t code = CodePoint(text.substr(i, length));
    const bool line_end = c == '\n' || (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n');
    if (length == 0) {
      diagnostics.Add({source, i}, "", "this is not UTF-8 text; save the file as UTF-8");
      return false;
    }
    if (IsControl(code) && c != '\t' && !line_end && InvisibleName(code) == nullptr) {
      diagnostics.Add({source, i}, "",
                      "a control character (code " + std::to_string(static_cast<unsigned>(code)) +
                          ") stands here; remove it");
      return false;
    }
    i += length;
  }
  return true;
}

bool IsBlank(char c) {
  return c == ' ' || c == '\t';
}

// Whether a quotation mark that follows `before` opens a text.
bool QuoteOpensAfter(char before) {
  return IsBlank(before) || before == '\n' || before == '[' || before == '{' || before == ',' ||
         before == ':';
}

}  // namespace

void ReportInvisible(const std::shared_ptr<const Source>& source, size_t begin, size_t end,
                     Diagnostics& diagnostics) {
  const std::string_view text = std::string_view(source->text()).substr(0, end);
  char before = '\n';
  bool reported = false;  // the one just before this character: one report for a row of them
  for (size_t i = begin; i < end;) {
    const size_t length = Utf8CharacterLength(text.substr(i));
    const char c = text[i];
    if (c == '#' && (IsBlank(before) || before == '\n')) return;
    if ((c == '"' || c == '\'') && QuoteOpensAfter(before)) {
      const std::optional<size_t> close = ClosingQuote(text, i);
      if (!close) return;  // reported as that
      i = *close + 1;
      before = c;
      continue;
    }
    const char32_t code = CodePoint(text.substr(i, length));
    const char* const name = InvisibleName(code);
    if (name != nullptr && !reported) {
      diagnostics.Add({source, i}, "",
                      "an invisible character stands here: " + CodePointText(code) + " " + name,
                      "YAML takes it for a letter. Write an ordinary blank or remove it; where it "
                      "belongs to a text, put that text in quotation marks.");
    }
    reported = name != nullptr;
    // Behind it a comment or a quoted text may begin: it was meant to be a blank.
    before = reported ? ' ' : c;
    i += length;
  }
}

void CheckRawText(const std::shared_ptr<const Source>& source, size_t begin,
                  Diagnostics& diagnostics) {
  if (!CheckCharacters(source, begin, diagnostics)) return;
  if (begin > 0) {  // an override: one line, no indentation
    ReportInvisible(source, begin, source->text().size(), diagnostics);
    return;
  }
  for (int number = 1; number <= source->lines(); ++number) {
    const std::string_view line = source->Line(number);
    const size_t start = source->LineStart(number);
    ReportInvisible(source, start, start + line.size(), diagnostics);
    const size_t indent = std::min(line.find_first_not_of(" \t"), line.size());
    const size_t tab = line.substr(0, indent).find('\t');
    if (tab != std::string_view::npos && indent < line.size() && line[indent] != '#') {
      diagnostics.Add({source, start + tab}, "",
                      "a tab stands in the indentation; indent with blanks");
    }
    if (line.starts_with('%')) {
      diagnostics.Add({source, start}, "", "directives (`%...`) are not supported; remove it");
    }
  }
}

std::optional<size_t> ClosingQuote(std::string_view text, size_t open) {
  const char quote = text[open];
  for (size_t i = open + 1; i < text.size() && text[i] != '\n'; ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
      if (i < text.size() && text[i] == '\n') return std::nullopt;
    } else if (text[i] == quote) {
      if (quote == '\'' && i + 1 < text.size() && text[i + 1] == quote) {
        ++i;
      } else {
        return i;
      }
    }
  }
  return std::nullopt;
}

std::optional<size_t> FindOpenQuote(std::string_view text, size_t begin) {
  for (size_t i = begin; i < text.size(); ++i) {
    const char before = i == 0 ? '\n' : text[i - 1];
    if (!QuoteOpensAfter(before)) continue;
    if (text[i] == '#' && (IsBlank(before) || before == '\n')) {
      i = std::min(text.find('\n', i), text.size()) - 1;
    } else if (text[i] == '"' || text[i] == '\'') {
      const std::optional<size_t> close = ClosingQuote(text, i);
      if (!close) return i;
      i = *close;
    }
  }
  return std::nullopt;
}

std::optional<size_t> FindAlias(const std::string& yaml_message, std::string_view text, size_t at) {
  namespace Msg = YAML::ErrorMsg;
  // The last is followed by the name.
  if (yaml_message != Msg::ALIAS_NOT_FOUND && yaml_message != Msg::CHAR_IN_ALIAS &&
      yaml_message != Msg::INVALID_ALIAS && !yaml_message.starts_with(Msg::UNKNOWN_ANCHOR)) {
    return std::nullopt;
  }
  const size_t star = text.rfind('*', at);
  return star == std::string_view::npos ? std::nullopt : std::optional(star);
}

SyntaxFault DescribeSyntaxFault(const std::string& yaml_message, std::string_view text, size_t at) {
  namespace Msg = YAML::ErrorMsg;
  const auto is = [&](const char* message) { return yaml_message == message; };
  const std::string here(1, at < text.size() ? text[at] : ' ');
  if (is(Msg::END_OF_SEQ_FLOW) || is(Msg::END_OF_MAP_FLOW)) {
    return {.message = "a list or mapping in brackets is not closed",
            .hint = "",
            .unclosed = true,
            .closes = false};
  }
  if (is(Msg::FLOW_END)) {
    return {.message = "`" + here + "` closes nothing that is open",
            .hint = "",
            .unclosed = false,
            .closes = true};
  }
  if (is(Msg::MAP_VALUE) || is(Msg::MAP_KEY)) {
    return {.message = "a `:` cannot stand here",
            .hint =
                "Check the indentation of this line and of the one above; a text that holds "
                "`: ` needs quotation marks."};
  }
  if (is(Msg::BLOCK_ENTRY)) {
    return {.message = "a list item (`- `) cannot start here",
            .hint =
                "Put it on a line of its own, under the key whose list it belongs to, or write "
                "the list in brackets: [1, 2]."};
  }
  if (is(Msg::END_OF_MAP) || is(Msg::END_OF_SEQ)) {
    return {.message = "this does not belong to what stands before it",
            .hint =
                "Check its indentation: the keys of one mapping, and the items of one list, "
                "start in the same column."};
  }
  if (is(Msg::UNKNOWN_TOKEN)) {
    return {.message = "a value cannot start with `" + here + "`; put it in quotation marks",
            .hint = ""};
  }
  std::string message = "cannot be read as YAML: " + yaml_message;
  std::erase_if(message, [](char c) { return static_cast<unsigned char>(c) >= 0x7f; });
  return {.message = message, .hint = ""};
}

}  // namespace syncbn::config
