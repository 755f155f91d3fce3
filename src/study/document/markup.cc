#include "study/document/markup.h"

#include <cctype>
#include <cmath>
#include <cstdio>

#include "base/check.h"
#include "base/printable.h"

namespace syncbn::study::document {
namespace {

std::string Class(std::string_view classes) {
  return classes.empty() ? "" : " class=\"" + std::string(classes) + "\"";
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : OneLine(text)) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  // Two characters of UTF-8 that XML has not.
  for (const std::string_view none : {"\xef\xbf\xbe", "\xef\xbf\xbf"}) {
    for (size_t at; (at = escaped.find(none)) != std::string::npos;) escaped.replace(at, 3, " ");
  }
  return escaped;
}

std::string EscapedLines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    if (!text.empty()) text += "&#10;";
    text += Escaped(line);
  }
  return text;
}

std::string AddressOf(std::string_view path) {
  std::string address;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte < 0x80 && std::isalnum(byte) != 0) ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    char encoded[4];
    std::snprintf(encoded, sizeof encoded, "%%%02X", byte);
    address += plain ? std::string(1, c) : encoded;
  }
  return address;
}

std::string Px(double value) {
  SYNCBN_CHECK(std::isfinite(value)) << "a coordinate of a chart";
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", value);
  std::string number = text;
  number.erase(number.find_last_not_of('0') + 1);
  if (number.back() == '.') number.pop_back();
  return number == "-0" ? "0" : number;
}

std::string TextElement(double x, double y, std::string_view classes, Anchor anchor,
                        std::string_view text) {
  const char* where = anchor == Anchor::kStart    ? ""
                      : anchor == Anchor::kMiddle ? " text-anchor=\"middle\""
                                                  : " text-anchor=\"end\"";
  return "<text x=\"" + Px(x) + "\" y=\"" + Px(y) + "\"" + Class(classes) + where + ">" +
         Escaped(text) + "</text>\n";
}

std::string LineElement(double x1, double y1, double x2, double y2, std::string_view classes) {
  return "<line x1=\"" + Px(x1) + "\" y1=\"" + Px(y1) + "\" x2=\"" + Px(x2) + "\" y2=\"" + Px(y2) +
         "\"" + Class(classes) + "/>\n";
}

std::string RectElement(double x, double y, double width, double height, std::string_view classes) {
  return "<rect x=\"" + Px(x) + "\" y=\"" + Px(y) + "\" width=\"" + Px(width) + "\" height=\"" +
         Px(height) + "\"" + Class(classes) + "/>\n";
}

}  // namespace syncbn::study::document
