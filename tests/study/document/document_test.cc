#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "study/document/html.h"
#include "study/document/markdown.h"
#include "study/document/markup.h"
#include "study/document/svg.h"

namespace syncbn::study::document {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

size_t Count(const std::string& text, const std::string& word) {
  size_t count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

Chart OneSeries(std::vector<Point> points, AxisScale scale = AxisScale::kLinear) {
  return {
      "A chart", "",
      LineChart{
          {.label = "batch"}, {.label = "loss", .scale = scale}, {{"arm", std::move(points)}}, {}}};
}

TEST(Escaped, LeavesNothingThatMarkupUnderstands) {
  EXPECT_EQ(Escaped("a<b> & \"c\" 'd'"), "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  EXPECT_EQ(Escaped("a\nb\x01"
                    "c"),
            "a b c");
  EXPECT_EQ(Escaped("\xc3\xa4\xff"), "\xc3\xa4\xef\xbf\xbd");
  EXPECT_EQ(Escaped("\xef\xbf\xbf"), " ");
  EXPECT_EQ(EscapedLines({"a", "b\nc"}), "a&#10;b c");
}

TEST(Px, IsShort) {
  EXPECT_EQ(Px(1), "1");
  EXPECT_EQ(Px(1.005), "1");
  EXPECT_EQ(Px(-0.001), "0");
  EXPECT_EQ(Px(120.256), "120.26");
}

TEST(Svg, ShowsWhatDivergedAtTheEdgeAndBreaksTheLineThere) {
  const std::string svg = Svg(OneSeries({{1, 2}, {2, 3}, {3, kNaN}, {4, 2}}));
  EXPECT_EQ(Count(svg, "class=\"mark\""), 4u);
  EXPECT_THAT(svg, HasSubstr(">diverged</text>"));
  EXPECT_THAT(svg, HasSubstr("loss: diverged (not finite)"));
  EXPECT_THAT(svg, HasSubstr("1 diverged."));
  EXPECT_THAT(svg, Not(HasSubstr("off scale")));
  EXPECT_THAT(svg, Not(testing::ContainsRegex("[\" ](nan|inf|-nan|-inf)[\" ]")));
}

TEST(Svg, WhatWasNotReachedIsNotCalledDiverged) {
  Chart chart = OneSeries({{1, 2}, {2, kNaN}, {3, kNaN}});
  for (Point& point : std::get<LineChart>(chart.plot).series[0].points) point.lost = "not reached";
  const std::string svg = Svg(chart);
  EXPECT_THAT(svg, HasSubstr(">not reached</text>"));
  EXPECT_THAT(svg, HasSubstr("2 not reached."));
  EXPECT_THAT(svg, Not(HasSubstr("iverged")));
}

TEST(Svg, ShowsWhatALogarithmicAxisCannotHoldAsOffTheScale) {
  const std::string svg = Svg(OneSeries({{1, 10}, {2, 0}, {3, -5}}, AxisScale::kLog10));
  EXPECT_EQ(Count(svg, "class=\"mark\""), 3u);
  EXPECT_THAT(svg, HasSubstr(">off scale</text>"));
  EXPECT_THAT(svg, HasSubstr("loss: -5&#10;outside of what the axes can show"));
  EXPECT_THAT(svg, HasSubstr("Off the scale: 2."));
}

TEST(Svg, TellsAtEveryPointItsValueItsIntervalItsSeedsAndItsRuns) {
  Point point{64, 91.23, Interval{91.0, 91.5}, {5, {"run-a", "run<b>"}, "a note"}};
  EXPECT_THAT(Svg(OneSeries({point})), HasSubstr("aria-label=\"arm&#10;batch: 64&#10;loss: 91.23 "
                                                 "(91.00 to 91.50), 95 % interval&#10;5 seeds&#10;"
                                                 "runs: run-a, run&lt;b&gt;&#10;a note\""));
}

TEST(Svg, NamesTwelveRunsAndCountsTheRest) {
  Point point{1, 1};
  for (int i = 0; i < 30; ++i) point.evidence.runs.push_back("r" + std::to_string(i));
  EXPECT_THAT(Svg(OneSeries({point})), HasSubstr("r11 and 18 more"));
}

TEST(Svg, DrawsWhiskersForFewPointsAndABandForMany) {
  std::vector<Point> points;
  for (int i = 0; i < 60; ++i)
    points.push_back({i * 1.0, i * 2.0, Interval{i * 2.0 - 1, i * 2.0 + 1}});
  const std::string many = Svg(OneSeries(points));
  EXPECT_EQ(Count(many, "class=\"band\""), 1u);
  EXPECT_EQ(Count(many, "class=\"whisker\""), 0u);
  EXPECT_EQ(Count(many, "tabindex"), 60u);
  points.resize(10);
  const std::string few = Svg(OneSeries(points));
  EXPECT_EQ(Count(few, "class=\"band\""), 0u);
  EXPECT_EQ(Count(few, "class=\"whisker\""), 10u);
}

TEST(Svg, ShowsAPointOfALongLineToWhichNoLineLeads) {
  std::vector<Point> points(60, Point{1, kNaN});
  points[20] = {20, 5};
  const std::string svg = Svg(OneSeries(points));
  EXPECT_THAT(svg, HasSubstr("batch: 20&#10;loss: 5\""));
  EXPECT_EQ(Count(svg, "class=\"mark hidden\""), 0u);
}

TEST(Svg, ShowsEveryPointOfAScatter) {
  std::vector<Point> points;
  for (int i = 0; i < 60; ++i)
    points.push_back({i * 1.0, i * 2.0, Interval{i * 2.0 - 1, i * 2.0 + 1}});
  Chart chart = OneSeries(points);
  std::get<LineChart>(chart.plot).series[0].connected = false;
  const std::string svg = Svg(chart);
  EXPECT_EQ(Count(svg, "class=\"mark\""), 60u);
  EXPECT_EQ(Count(svg, "class=\"whisker\""), 60u);
  EXPECT_EQ(Count(svg, "class=\"line\""), 0u);
}

TEST(Svg, TellsTwelveSeriesApartByColourAndShape) {
  LineChart chart{{.label = "x"}, {.label = "y"}, {}, {}};
  for (int i = 0; i < 12; ++i)
    chart.series.push_back({"series " + std::to_string(i), {{1, 1.0 + i}}});
  const std::string svg = Svg({"t", "", chart});
  std::set<std::string> looks;
  for (size_t at = svg.find("<g class=\"key\""); at != std::string::npos;
       at = svg.find("<g class=\"key\"", at + 1)) {
    const size_t colour = svg.find("<g class=\"s c", at),
                 shape = svg.find(" d=\"", svg.find("class=\"shape\"", at));
    looks.insert(svg.substr(colour + 12, 2) + svg.substr(shape, svg.find('"', shape + 4) - shape));
  }
  EXPECT_EQ(looks.size(), 12u);
}

TEST(Svg, MarksTheBestPointOfASeriesAndSaysWhereItIs) {
  LineChart chart{
      {.label = "rate"}, {.label = "accuracy"}, {{"arm", {{0.1, 3}, {0.3, 5}}, true, 1}}, {}};
  const std::string svg = Svg({"t", "", chart});
  EXPECT_EQ(Count(svg, "class=\"ring\" r="), 1u);
  EXPECT_THAT(svg, HasSubstr("arm (best at 0.3)"));
}

TEST(Svg, TellsReferenceLinesApartAndSaysTheirValues) {
  LineChart chart{
      {.label = "rate"}, {.label = "accuracy", .unit = "%"}, {{"arm", {{0.1, 30}, {0.3, 50}}}}, {}};
  chart.references = {{"chance", ReferenceLine::At::kY, 10},
                      {"target", ReferenceLine::At::kY, 90},
                      {"rule", ReferenceLine::At::kX, 0.2}};
  const std::string svg = Svg({"t", "", chart});
  for (const char* words : {">chance, 10 %<", ">target, 90 %<", ">rule, 0.2<"})
    EXPECT_THAT(svg, HasSubstr(words));
  for (const char* look : {"\"reference r0\"", "\"reference r1\"", "\"reference r2\""})
    EXPECT_EQ(Count(svg, look), 2u);
}

TEST(Svg, OfNothingSaysSo) {
  EXPECT_THAT(Svg(Chart{}), HasSubstr("Nothing to show: there are no points."));
  EXPECT_THAT(Svg({"t", "", ShareChart{}}), HasSubstr("Nothing to show: there are no bars."));
  EXPECT_THAT(Svg({"t", "", HeatMap{}}), HasSubstr("Nothing to show: there are no cells."));
}

TEST(Svg, OfSharesGivesPercentAndTheWhole) {
  const std::string svg =
      Svg({"t", "",
           ShareChart{"time", "ms", {"a", "b"}, {{"one", {30, 10}, {}}, {"two", {0, 0}, {}}}}});
  EXPECT_THAT(svg, HasSubstr("a: 75 %&#10;30 ms of 40 ms"));
  EXPECT_THAT(svg, HasSubstr("not measured"));
}

TEST(Svg, OfAHeatMapTellsMissingFromDivergedCells) {
  HeatMap map{{.label = "b", .categories = {"1", "2", "4"}},
              {.label = "r", .categories = {"1"}},
              {.label = "loss"},
              {{1.5}, {kNaN}, {}},
              HeatMap::Index{0, 0}};
  const std::string svg = Svg({"t", "", map});
  EXPECT_THAT(svg, HasSubstr("b 1, r 1&#10;loss: 1.5&#10;best"));
  EXPECT_THAT(svg, HasSubstr("b 2, r 1&#10;loss: diverged (not finite)"));
  EXPECT_THAT(svg, HasSubstr("b 4, r 1&#10;not measured"));
}

TEST(Html, GivesVerdictsWithRuleFiguresIntervalAndScale) {
  Document document{.title = "T"};
  document.sections.push_back({"S",
                               {Verdict{"A claim",
                                        Outcome::kRefuted,
                                        "A rule",
                                        {{"ratio", "x", 2.5, Interval{2, 3}, {4}, "5 seeds"}},
                                        "a scale"}}});
  const std::string html = Html(document);
  for (const char* words :
       {"<article class=\"verdict refuted\">", "<h3>A claim</h3>", "<dd>A rule</dd>",
        "<dd>a scale</dd>", "2.5 x (2.0 to 3.0)", "95 % interval, 5 seeds", "threshold 4"}) {
    EXPECT_THAT(html, HasSubstr(words));
  }
}

TEST(Html, BreaksTheLongNameOfAMeasureBetweenItsWords) {
  const Document document{
      .title = "T",
      .subtitle = {},
      .answer = {},
      .sections = {{.heading = "S",
                    .blocks = {Verdict{.claim = "A claim",
                                       .outcome = Outcome::kRefuted,
                                       .rule = "",
                                       .figures = {{"correlation.*.off_diagonal at 1.5", "", 2}},
                                       .scale = ""}}}}};
  EXPECT_THAT(Html(document),
              HasSubstr("<dt>correlation.<wbr>*.<wbr>off_<wbr>diagonal at 1.5</dt>"));
}

TEST(Html, MarksRowsThatDivergedOrAreFlaggedInWords) {
  Document document{.title = "T"};
  document.sections.push_back(
      {"S",
       {Table{"All",
              {{"Trial"}, {"Loss", Align::kRight}},
              {{{"a", "1"}}, {{"b", ""}, RowState::kDiverged, "at step 3"}}}}});
  const std::string html = Html(document);
  EXPECT_THAT(html, HasSubstr("<tr class=\"diverged\"><th scope=\"row\">b <span "
                              "class=\"state\"><b>diverged</b> <span>at step 3"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"col\" class=\"figure\">Loss</th>"));
  EXPECT_THAT(html, HasSubstr("<caption><b>Table 1.</b> All</caption>"));
}

TEST(Link, LeadsToTheDocumentOfTheSameKindWhateverItsFolderIsCalled) {
  const Document page{
      .title = "t",
      .subtitle = {},
      .answer = {},
      .sections = {{.heading = "s",
                    .blocks = {Link{.words = "Its report", .target = "../a b)/\"c\"/report"}}}}};
  EXPECT_THAT(Html(page), HasSubstr("<p>Its report: <a href=\"../a%20b%29/%22c%22/report.html\">"
                                    "../a b)/&quot;c&quot;/report.html</a></p>"));
  EXPECT_THAT(Markdown(page), HasSubstr("Its report: [../a b)/\"c\"/report.md]"
                                        "(../a%20b%29/%22c%22/report.md)\n"));
}

TEST(Markdown, SaysTheSameInATerminal) {
  Document document{.title = "Study", .subtitle = {"two cores"}, .answer = {"It holds."}};
  Chart chart = OneSeries(
      {{64, 1.5, Interval{1, 2}, {5, {"a", "b"}, ""}}, {128, kNaN, std::nullopt, {5, {}, "all"}}});
  document.sections.push_back({"Results",
                               {std::string("Words."),
                                Verdict{"A claim",
                                        Outcome::kSupported,
                                        "A rule",
                                        {{"ratio", "", 2.5, Interval{2, 3}, {1, 4}, ""}},
                                        "a scale"},
                                chart,
                                Table{"Trials",
                                      {{"Trial"}, {"Loss", Align::kRight}},
                                      {{{"a|b", "1"}}, {{"c", "-"}, RowState::kFlagged, "why"}}}}});
  EXPECT_EQ(Markdown(document), R"(# Study

- two cores

It holds.

## Results

Words.

**Supported**: A claim

- ratio: 2.5 (2.0 to 3.0); 95 % interval, thresholds 1 and 4
- Rule: A rule
- Holds for: a scale

**Figure 1.** A chart

| series | batch | loss (95 % interval) | seeds | runs | note |
| ------ | ----: | -------------------: | ----: | ---- | ---- |
| arm    |    64 |     1.5 (1.0 to 2.0) |     5 | a, b |      |
| arm    |   128 |             diverged |     5 |      | all  |

**Table 1.** Trials

| Trial | Loss | state        |
| ----- | ---: | ------------ |
| a\|b  |    1 |              |
| c     |   \- | flagged: why |
)");
}

TEST(MarkdownText, EscapesWhatWouldBeMarkupAndNothingElse) {
  EXPECT_EQ(MarkdownText("batch_per_replica, R & D, ~5 s, 3.5 (a)"),
            "batch_per_replica, R & D, ~5 s, 3.5 (a)");
  EXPECT_EQ(MarkdownText("*a* _b_ `c` <d> [e] $f$ g|h ~~i~~ &amp; \\"),
            "\\*a\\* \\_b\\_ \\`c\\` \\<d> \\[e\\] \\$f\\$ g\\|h \\~\\~i\\~\\~ \\&amp; \\\\");
  EXPECT_EQ(MarkdownText("# a"), "\\# a");
  EXPECT_EQ(MarkdownText("12. a"), "12\\. a");
  EXPECT_EQ(MarkdownText("-0.5"), "-0.5");
  EXPECT_EQ(MarkdownText("a\nb"), "a b");
}

}  // namespace
}  // namespace syncbn::study::document
