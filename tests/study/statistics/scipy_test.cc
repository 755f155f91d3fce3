// Every statistic against SciPy's, over many random samples (scipy_table.py).
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "study/statistics/bootstrap.h"
#include "study/statistics/distributions.h"
#include "study/statistics/equivalence.h"
#include "study/statistics/interval.h"
#include "study/statistics/quantiles.h"
#include "study/statistics/rank_correlation.h"
#include "study/statistics/slope.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study {
namespace {

using nlohmann::json;
using Values = std::vector<double>;

Values Numbers(const Interval& interval) {
  return {interval.low, interval.estimate, interval.high};
}

// By the names of scipy_table.py.
const std::map<std::string, std::function<Values(const json&)>>& Functions() {
  static const auto list = [](const json& c, const char* name) { return c.at(name).get<Values>(); };
  static const auto number = [](const json& c, const char* name) {
    return c.at(name).get<double>();
  };
  static const std::map<std::string, std::function<Values(const json&)>> functions = {
      {"students_t_quantile",
       [](const json& c) {
         return Values{StudentsTQuantile(number(c, "p"), number(c, "degrees"))};
       }},
      {"students_t_cdf",
       [](const json& c) { return Values{StudentsTCdf(number(c, "t"), number(c, "degrees"))}; }},
      {"normal_quantile", [](const json& c) { return Values{NormalQuantile(number(c, "p"))}; }},
      {"normal_cdf", [](const json& c) { return Values{NormalCdf(number(c, "z"))}; }},
      {"mean",
       [](const json& c) { return Numbers(MeanInterval(list(c, "a"), number(c, "level"))); }},
      {"students",
       [](const json& c) { return Numbers(StudentsInterval(list(c, "a"), number(c, "level"))); }},
      {"paired_difference",
       [](const json& c) {
         return Numbers(PairedDifference(list(c, "a"), list(c, "b"), number(c, "level")));
       }},
      {"paired_ratio",
       [](const json& c) {
         return Numbers(PairedRatio(list(c, "a"), list(c, "b"), number(c, "level")));
       }},
      {"equivalence",
       [](const json& c) {
         const Equivalence result =
             TestEquivalence(list(c, "a"), list(c, "b"), number(c, "margin"), number(c, "alpha"));
         return Values{result.inner.low, result.inner.high, result.outer.low, result.outer.high,
                       result.p};
       }},
      {"slope",
       [](const json& c) {
         return Numbers(Slope(list(c, "x"), list(c, "y"), number(c, "level")));
       }},
      {"log_log_slope",
       [](const json& c) {
         return Numbers(LogLogSlope(list(c, "x"), list(c, "y"), number(c, "level")));
       }},
      {"quantile", [](const json& c) { return Values{Quantile(list(c, "a"), number(c, "p"))}; }},
      {"median", [](const json& c) { return Values{Median(list(c, "a"))}; }},
      {"median_absolute_deviation",
       [](const json& c) { return Values{MedianAbsoluteDeviation(list(c, "a"))}; }},
      {"spearman",
       [](const json& c) {
         const RankCorrelation result = Spearman(list(c, "x"), list(c, "y"), number(c, "level"));
         return Values{result.rho.low, result.rho.estimate, result.rho.high, result.p};
       }},
  };
  return functions;
}

struct Table {
  int status = -1;
  std::string text;
};

Table MakeTable(const std::filesystem::path& resamples) {
  std::ofstream file(resamples, std::ios::binary);
  for (size_t n : {10, 17, 40}) {
    Resampler resampler(n);
    for (int i = 0; i < kResamples; ++i) {
      const std::span<const uint32_t> indices = resampler.Next();
      file.write(reinterpret_cast<const char*>(indices.data()),
                 static_cast<std::streamsize>(indices.size_bytes()));
    }
  }
  file.close();
  // -B: no caches in the source tree.
  const std::string command =
      "exec '" SYNCBN_PYTHON "' -B '" SCIPY_TABLE "' '" + resamples.string() + "'";
  FILE* pipe = ::popen(command.c_str(), "r");
  Table table;
  if (pipe == nullptr) return table;
  std::array<char, 65536> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    table.text.append(buffer.data(), count);
  }
  const int status = ::pclose(pipe);
  table.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return table;
}

TEST(Statistics, AreWhatSciPyComputes) {
  if (!std::filesystem::exists(SYNCBN_PYTHON)) GTEST_SKIP() << "there was no python3";
  const TempFolder folder;
  const Table table = MakeTable(folder.path() / "resamples");
  if (table.status == 77) GTEST_SKIP() << table.text.substr(0, table.text.find('\n'));
  ASSERT_EQ(table.status, 0);
  std::map<std::string, int> compared;
  for (const json& c : json::parse(table.text)) {
    const std::string name = c.at("function");
    const Values expected = c.at("expected"), ours = Functions().at(name)(c);
    const double scale = c.at("scale");
    ASSERT_EQ(ours.size(), expected.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      // Roundings of either side: of the arguments, and of the result (a p-value's digits are those
      // of its argument). A wrong term is off by far more.
      const double allowed = 1e-13 * scale + 1e-9 * std::abs(expected[i]);
      ASSERT_LE(std::abs(ours[i] - expected[i]), allowed)
          << "number " << i << " is " << ours[i] << ", SciPy has " << expected[i] << "; off by "
          << ours[i] - expected[i] << "; " << c.dump();
    }
    ++compared[name];
  }
  for (const auto& [name, function] : Functions()) EXPECT_GE(compared[name], 7) << name;
}

}  // namespace
}  // namespace syncbn::study
