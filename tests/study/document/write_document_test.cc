#include "study/document/write_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/study/document/example_report.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study::document {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

TEST(WriteDocument, TheTextShowsThePicturesThatLieBesideIt) {
  const TempFolder folder;
  WriteDocument(ExampleReport(), folder.path(), "report");
  const std::string text = ReadFile(folder.path() / "report.md");
  size_t shown = 0;
  for (size_t at = text.find("](figures/"); at != std::string::npos;
       at = text.find("](figures/", at + 1)) {
    const size_t begin = at + 2, end = text.find(')', begin);
    EXPECT_THAT(ReadFile(folder.path() / text.substr(begin, end - begin)), HasSubstr("</svg>"));
    ++shown;
  }
  size_t charts = 0;
  for (const Section& section : ExampleReport().sections) {
    for (const Block& block : section.blocks)
      charts += std::holds_alternative<Chart>(block) ? 1 : 0;
  }
  EXPECT_GT(shown, 0);
  EXPECT_EQ(shown, charts);
  EXPECT_THAT(ReadFile(folder.path() / "report.html"), HasSubstr("<svg class=\"chart"));
}

TEST(WriteDocument, PicturesThatTheReportNoLongerHasAreGone) {
  const TempFolder folder;
  WriteDocument(ExampleReport(), folder.path(), "report");
  Document less = ExampleReport();
  for (Section& section : less.sections) {
    std::erase_if(section.blocks,
                  [](const Block& block) { return std::holds_alternative<Chart>(block); });
  }
  WriteDocument(less, folder.path(), "report");
  EXPECT_FALSE(fs::exists(folder.path() / "figures"));
  EXPECT_THAT(ReadFile(folder.path() / "report.md"), Not(HasSubstr("](figures/")));
}

}  // namespace
}  // namespace syncbn::study::document
