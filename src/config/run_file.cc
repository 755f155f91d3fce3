#include "config/run_file.h"

#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/effective_yaml.h"
#include "config/validate.h"

namespace syncbn::config {

std::string RunFile::EffectiveYaml() const {
  return config::EffectiveYaml(spec, origins);
}

CheckedRunFile CheckRunFile(std::string text, std::string name,
                            std::span<const std::string> overrides) {
  CheckedRunFile result;
  result.file.source_text = text;
  Decoded decoded = DecodeYaml(std::move(text), std::move(name), result.file.spec, overrides);
  CompleteRunSpec(result.file.spec, decoded.origins);
  ValidateRunSpec(result.file.spec, decoded.origins, decoded.diagnostics);
  decoded.diagnostics.Sort();
  result.file.origins = std::move(decoded.origins);
  result.diagnostics = std::move(decoded.diagnostics);
  return result;
}

RunFile ParseRunFile(std::string text, std::string name, std::span<const std::string> overrides) {
  const std::string shown = name;
  CheckedRunFile checked = CheckRunFile(std::move(text), std::move(name), overrides);
  if (checked.diagnostics.empty()) return std::move(checked.file);
  throw Error(ErrorCode::kInvalidArgument, checked.diagnostics.Format(shown));
}

RunFile LoadRunFile(const std::filesystem::path& path, std::span<const std::string> overrides) {
  return ParseRunFile(ReadFile(path), path.string(), overrides);
}

}  // namespace syncbn::config
