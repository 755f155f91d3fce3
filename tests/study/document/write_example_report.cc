// Writes the example report to look at: write_example_report FOLDER
#include <filesystem>
#include <fstream>
#include <iostream>

#include "study/document/html.h"
#include "study/document/markdown.h"
#include "study/document/svg.h"
#include "tests/study/document/example_report.h"

int main(int argc, char** argv) {
  using namespace syncbn::study::document;
  if (argc != 2) {
    std::cerr << "usage: write_example_report FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const Document report = ExampleReport();
  std::ofstream(folder / "report.html") << Html(report);
  std::ofstream(folder / "report.md") << Markdown(report);
  int number = 0;
  for (const Section& section : report.sections) {
    for (const Block& block : section.blocks) {
      if (const Chart* chart = std::get_if<Chart>(&block)) {
        std::ofstream(folder / ("figure-" + std::to_string(++number) + ".svg")) << SvgFile(*chart);
      }
    }
  }
  return 0;
}
