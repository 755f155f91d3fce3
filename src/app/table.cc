#include "app/table.h"

#include <algorithm>

#include "base/check.h"
#include "base/printable.h"
#include "base/text.h"
#include "config/diagnostic.h"

namespace syncbn::app {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kLeastForText = 24;

std::vector<std::string> LinesOf(const std::string& text, size_t width) {
  const std::string wrapped = config::WrapText(text, static_cast<int>(width), 0);
  std::vector<std::string> lines;
  for (size_t begin = 0; begin <= wrapped.size();) {
    const size_t end = std::min(wrapped.find('\n', begin), wrapped.size());
    lines.push_back(wrapped.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (Column& column : columns_) column.header = OneLine(column.header);
}

void Table::Add(std::vector<Cell> cells) {
  for (Cell& cell : cells) cell.text = OneLine(cell.text);
  rows_.push_back(std::move(cells));
}

std::string Table::Render(const Terminal& terminal) const {
  std::vector<size_t> widths(columns_.size());
  std::vector<bool> shown(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    widths[i] = DisplayWidth(columns_[i].header);
    for (const auto& row : rows_) {
      SYNCBN_CHECK_EQ(row.size(), columns_.size());
      widths[i] = std::max(widths[i], DisplayWidth(row[i].text));
      if (!row[i].text.empty()) shown[i] = true;
    }
  }
  const auto limit = static_cast<size_t>(std::max(20, terminal.width));
  const auto needed = [&](bool with_text) {
    size_t sum = 0;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (!shown[i]) continue;
      const bool text = columns_[i].wraps && with_text;
      sum += (sum > 0 ? kGap : 0) + (text ? std::min(widths[i], kLeastForText) : widths[i]);
    }
    return sum;
  };
  if (terminal.is_terminal) {
    std::vector<size_t> gone;
    while (needed(true) > limit) {
      size_t next = columns_.size();
      for (size_t i = 0; i < columns_.size(); ++i) {
        if (!shown[i] || columns_[i].goes == 0) continue;
        if (next == columns_.size() || columns_[i].goes > columns_[next].goes) next = i;
      }
      if (next == columns_.size()) break;
      shown[next] = false;
      gone.push_back(next);
    }
    // The last that went made much room, perhaps: the others come back as far as they fit.
    for (auto column = gone.rbegin(); column != gone.rend(); ++column) {
      shown[*column] = true;
      if (needed(true) > limit) shown[*column] = false;
    }
    const size_t all = needed(false);
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (!shown[i] || !columns_[i].wraps || all <= limit) continue;
      const size_t others = all - widths[i];
      widths[i] = std::max(kLeastForText, limit > others ? limit - others : 0);
    }
  }

  std::string text;
  const auto add_line = [&](const std::vector<Cell>& cells) {
    // The lines below the first of a broken text stand under it.
    std::vector<std::string> below;
    std::string line, blanks;
    for (size_t i = 0, column = 0; i < columns_.size(); ++i) {
      if (!shown[i]) continue;
      std::string cell = cells[i].text;
      if (column++ > 0) line += "  ", blanks += "  ";
      if (DisplayWidth(cell) > widths[i]) {
        below = LinesOf(cell, widths[i]);
        cell = below.front();
        below.erase(below.begin());
      }
      const size_t fill = widths[i] - std::min(widths[i], DisplayWidth(cell));
      const std::string painted = terminal.Paint(cell, cells[i].tone);
      line += columns_[i].right ? std::string(fill, ' ') + painted : painted + std::string(fill, ' ');
      if (!columns_[i].wraps) blanks += std::string(widths[i], ' ');
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += line + "\n";
    for (const std::string& more : below) text += blanks + more + "\n";
  };
  std::vector<Cell> headers;
  for (const Column& column : columns_) headers.push_back({column.header, Tone::kStrong});
  add_line(headers);
  for (const auto& row : rows_) add_line(row);
  return text;
}

}  // namespace syncbn::app
