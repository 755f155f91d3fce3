// The files of the source tree that tests read.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace syncbn {

// Of the tree that was built (SYNCBN_SOURCE: see the test's CMakeLists.txt).
inline const std::filesystem::path kSourceRoot = SYNCBN_SOURCE;

// The text of a file as far as it is there; empty where there is none yet.
inline std::string TextSoFar(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// The text of a file of the source tree, by its path in there; that there is none is a failure.
inline std::string SourceText(const std::filesystem::path& file) {
  EXPECT_TRUE(std::filesystem::exists(kSourceRoot / file)) << "there is no " << file;
  return TextSoFar(kSourceRoot / file);
}

}  // namespace syncbn
