// A run file: read, checked, complete.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "config/decode.h"
#include "config/diagnostic.h"
#include "config/origin.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::config {

struct RunFile {
  // Validated, every default filled in.
  v1::RunSpec spec;
  Origins origins;
  // The file as it was read, without the overrides.
  std::string source_text;

  // The complete run file with the origin of every value; reading it gives the same spec.
  std::string EffectiveYaml() const;
};

struct CheckedRunFile {
  RunFile file;
  // Empty: the run file is right.
  Diagnostics diagnostics;
};

// Reads the text of a run file under overrides ("train.epochs=3") and finds every fault. Never
// throws for any text. `name` is what messages call the text.
CheckedRunFile CheckRunFile(std::string text, std::string name,
                            std::span<const std::string> overrides = {});

// The same for a text that is read under several sets of overrides.
CheckedRunFile CheckRunFile(const YamlText& text, std::span<const std::string> overrides);

// The same; throws INVALID_ARGUMENT with all faults as its message.
RunFile ParseRunFile(std::string text, std::string name,
                     std::span<const std::string> overrides = {});

// The same for an effective run file that a run has written. What looks like a mistake in a file of
// a user's (a milestone that is never reached) may come from an override there: it is none here.
RunFile ParseStoredRunFile(std::string text, std::string name);

// The text of a run file; throws as ReadFileUpTo does. No run file has a mebibyte.
std::string ReadRunFile(const std::filesystem::path& path);

// ParseRunFile for a file; throws as ReadRunFile does when it cannot be read.
RunFile LoadRunFile(const std::filesystem::path& path, std::span<const std::string> overrides = {});

}  // namespace syncbn::config
