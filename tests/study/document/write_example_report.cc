// Writes the example report to look at: write_example_report FOLDER
#include <iostream>

#include "study/document/write_document.h"
#include "tests/study/document/example_report.h"

int main(int argc, char** argv) {
  using namespace syncbn::study::document;
  if (argc != 2) {
    std::cerr << "usage: write_example_report FOLDER\n";
    return 2;
  }
  WriteDocument(ExampleReport(), argv[1], "report");
  return 0;
}
