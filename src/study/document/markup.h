// Text of others inside of XML and HTML, and the pieces that drawings are written with.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace syncbn::study::document {

// On one line, without control characters and what changes the direction of text, & < > and quotes
// escaped: right inside of an element and of an attribute's quotes, in HTML and in XML.
std::string Escaped(std::string_view text);

// Lines for an attribute: escaped, an encoded line end between them.
std::string EscapedLines(const std::vector<std::string>& lines);

// A relative path as an address: what is neither a letter, a digit nor one of "-._~/" is encoded.
std::string AddressOf(std::string_view path);

// A coordinate with at most two decimals. It is finite: whatever is not has been left out before.
std::string Px(double value);

enum class Anchor { kStart, kMiddle, kEnd };

// <text> at a base line; `text` is escaped here. `classes` may be empty.
std::string TextElement(double x, double y, std::string_view classes, Anchor anchor,
                        std::string_view text);

std::string LineElement(double x1, double y1, double x2, double y2, std::string_view classes);

std::string RectElement(double x, double y, double width, double height, std::string_view classes);

}  // namespace syncbn::study::document
