// Reports as browsers and parsers see them. The looking is done by page_test.py.
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <limits>
#include <sstream>

#include "study/document/html.h"
#include "study/document/markdown.h"
#include "study/document/svg.h"
#include "tests/study/document/example_report.h"
#include "tests/study/document/page_look.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study::document {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// What a run's name may hold.
const std::string kHostile =
    "<script>window.injected = 1</script>\"' onload=\"window.injected = 2\" & \\ | `x` "
    "$y$\n\x01\x1b[31m \xe2\x80\xae"
    "\xc3\xa4\xe6\x89\xb9 \xff\xfe ]]> <!-- --> " +
    std::string(200, 'w');

Chart HostileLines() {
  LineChart lines{.x = {.label = kHostile, .unit = kHostile, .scale = AxisScale::kLog2},
                  .y = {.label = kHostile, .scale = AxisScale::kLog10}};
  for (int s = 0; s < 9; ++s) {
    Series series{.name = kHostile + std::to_string(s), .optimum = 7};
    for (const double x : {0.0, -1.0, kNaN, kInfinity, 1.0, 3.0, 1e300, 40.0}) {
      for (const double y : {0.0, -2.0, kNaN, -kInfinity, 1e-320, 5.0 + s}) {
        series.points.push_back({x, y, Interval{-kInfinity, kInfinity}, {1, {kHostile}, kHostile}});
        series.points.push_back({x, y, Interval{kNaN, 0}, {}});
      }
    }
    if (s % 2 == 0) series.points.resize(20);
    lines.series.push_back(series);
  }
  lines.references = {{kHostile, ReferenceLine::At::kX, kNaN},
                      {kHostile, ReferenceLine::At::kY, 0}};
  return {kHostile, kHostile, lines, kHostile};
}

Document HostileReport() {
  Document report{.title = kHostile, .subtitle = {kHostile}, .answer = {kHostile}};
  HeatMap map{.x = {.label = kHostile},
              .y = {.label = kHostile, .categories = {kHostile, "", "b"}},
              .value = {.label = kHostile, .scale = AxisScale::kLog10},
              .optimum = HeatMap::Index{9, 9}};
  for (int i = 0; i < 40; ++i)
    map.x.categories.push_back(i % 3 == 0 ? kHostile : std::to_string(i));
  for (size_t i = 0; i < 120; ++i) {
    map.cells.push_back({std::array<std::optional<double>, 4>{std::nullopt, kNaN, 0, 1e9}[i % 4],
                         Interval{0, kInfinity}});
  }
  ShareChart shares{.label = kHostile, .unit = kHostile, .parts = {kHostile, "b", "c"}};
  shares.bars = {{kHostile, {1, 2, 3}}, {"", {0, 0, 0}}, {"b", {kNaN, -1, kInfinity}}};
  Table table{kHostile,
              {{kHostile}, {"a", Align::kRight}},
              {{{kHostile, kHostile}, RowState::kDiverged, kHostile}, {}}};
  report.sections.push_back(
      {kHostile,
       {kHostile, table, Table{},
        Verdict{kHostile,
                Outcome::kNone,
                kHostile,
                {{kHostile, kHostile, kNaN, Interval{kNaN, 1}, {0.5}, kHostile},
                 {"", "", 1, Interval{-kInfinity, kInfinity}, {0, kNaN, 3}, ""}},
                kHostile,
                kHostile},
        Verdict{}, HostileLines(), Chart{kHostile, kHostile, shares},
        Chart{kHostile, kHostile, map}, Chart{}, Chart{"", "", ShareChart{}},
        Chart{"", "", HeatMap{}}}});
  report.sections.push_back({});
  return report;
}

void WriteAll(const std::filesystem::path& folder) {
  for (const auto& [name, report] : {std::pair<std::string, Document>{"example", ExampleReport()},
                                     {"hostile", HostileReport()}}) {
    std::ofstream(folder / (name + ".html")) << Html(report);
    int number = 0;
    for (const Section& section : report.sections) {
      for (const Block& block : section.blocks) {
        const Chart* chart = std::get_if<Chart>(&block);
        if (chart == nullptr) continue;
        for (const double width : {kNarrow, kWide}) {
          std::ofstream(folder / (name + std::to_string(++number) + ".svg"))
              << SvgFile(*chart, width);
        }
      }
    }
  }
}

TEST(Pages, AreWellFormedWhateverTheNamesAndNumbersAre) {
  TempFolder folder;
  WriteAll(folder.path());
  const Looked looked = Look("markup", folder.path());
  if (looked.status == kNoPython) GTEST_SKIP() << "there is no python3";
  EXPECT_EQ(looked.status, 0) << looked.words;
}

TEST(Pages, WorkInABrowserOnAPhoneAndOnADesktopInBothColourSchemes) {
  TempFolder folder;
  WriteAll(folder.path());
  const Looked looked = Look("browser", folder.path());
  if (looked.status == kNoPython) GTEST_SKIP() << "there is no python3";
  if (looked.status == kNoBrowser) GTEST_SKIP() << looked.words;
  EXPECT_EQ(looked.status, 0) << looked.words;
}

TEST(Pages, HoldTheScriptOfNobodyElse) {
  const std::string page = Html(HostileReport());
  EXPECT_EQ(page.find("<script>window"), std::string::npos);
  EXPECT_EQ(page.find('\x1b'), std::string::npos);
  EXPECT_NE(page.find("&lt;script&gt;window.injected"), std::string::npos);
}

TEST(Markdown, OfHostileNamesKeepsItsTablesWhole) {
  const std::string text = Markdown(HostileReport());
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find(" <script>"), std::string::npos);
  EXPECT_EQ(text.find("\n\n\n"), std::string::npos);
}

// Of words; a row of a table is one line.
TEST(Markdown, HasNoLineOfMoreThanAHundredCharactersAndNoBlockThatABreakBegins) {
  Document report{.title = "t"};
  std::string text = "first";
  for (int i = 0; i < 60; ++i) text += " - of words 1. # and > or + more";
  report.answer = {text};
  report.sections.push_back({"s", {text, Verdict{text, Outcome::kSupported, text, {}, text}}});
  std::istringstream lines(Markdown(report));
  size_t longer = 0;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    longer += line.size() > 90;
    const std::string begin = line.substr(line.find_first_not_of(' ') % (line.size() + 1), 12);
    const bool item = begin.starts_with("- ");
    EXPECT_TRUE(!item || begin.starts_with("- Rule") || begin.starts_with("- Holds")) << line;
    EXPECT_FALSE(begin.starts_with("1. ") || begin.starts_with("> ") || begin.starts_with("+ "))
        << line;
  }
  EXPECT_GT(longer, 20u);
}

}  // namespace
}  // namespace syncbn::study::document
