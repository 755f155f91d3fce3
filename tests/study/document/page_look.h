// What page_test.py says of the pages in a folder.
#pragma once

#include <filesystem>
#include <string>

namespace syncbn::study::document {

// Exit codes of the shell and of page_test.py.
constexpr int kNoPython = 127;
constexpr int kNoBrowser = 77;

struct Looked {
  int status = -1;
  std::string words;
};

// `how`: "markup" or "browser", see page_test.py.
Looked Look(const std::string& how, const std::filesystem::path& folder);

}  // namespace syncbn::study::document
