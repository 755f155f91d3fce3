// Tables for people: on a terminal fitted to its width, in a file or pipe complete.
#pragma once

#include <string>
#include <vector>

#include "app/terminal.h"

namespace syncbn::app {

struct Column {
  std::string header;
  bool right = false;
  // On a terminal that is too narrow columns go, the highest number first, and narrower ones may
  // take their place; 0 never goes.
  int goes = 0;
  // The text of this column may be broken over several lines. At most one, the last.
  bool wraps = false;
};

struct Cell {
  std::string text;
  Tone tone = Tone::kPlain;
};

class Table {
 public:
  // Headers and cells are texts of others as often as not: each is made one line.
  explicit Table(std::vector<Column> columns);
  // As many cells as columns.
  void Add(std::vector<Cell> cells);
  bool empty() const { return rows_.empty(); }
  // With the headers. A column whose cells are all empty is left out.
  std::string Render(const Terminal& terminal) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace syncbn::app
