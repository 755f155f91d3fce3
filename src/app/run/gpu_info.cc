#include "app/run/gpu_info.h"

#include <cmath>

#include "app/console.h"
#include "app/run/gpu_program.h"
#include "app/run/subprocess.h"
#include "base/environment.h"
#include "base/untrusted_json.h"
#include "comm/nccl/nccl.h"

namespace syncbn::app {
namespace {

using Json = nlohmann::ordered_json;

Json TextOrNull(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

// What the other program says of itself.
Json AskProgram(const std::string& program) {
  std::string problem = LoadObstacle(program);
  if (problem.empty()) {
    const Captured said = RunCaptured({program, "info", "--json"}, OwnEnvironment(), false);
    const Json all = UntrustedJsonOrNull<Json>(said.text);
    if (said.code == 0 && all.is_object() && all.contains("cuda")) return all["cuda"];
    problem = said.why.empty() ? "it ends with exit code " + std::to_string(said.code) : said.why;
  }
  return CudaInfoOf(
      program, {.versions = {}, .gpus = {}, .problem = program + " cannot be run: " + problem});
}

std::string GpuText(const Json& gpu) {
  const double gibibytes = gpu.at("memory_bytes").get<double>() / std::ldexp(1.0, 30);
  std::string text = Format(
      "%s, compute capability %s, %.1f GiB, %s, PCI %s", gpu.at("name").get<std::string>().c_str(),
      gpu.at("compute_capability").get<std::string>().c_str(), gibibytes,
      gpu.at("uuid").get<std::string>().c_str(), gpu.at("pci_bus_id").get<std::string>().c_str());
  if (gpu.at("unfit").is_string()) text += "; not used: " + gpu.at("unfit").get<std::string>();
  return text;
}

}  // namespace

Json CudaInfoOf(const std::string& program, const backend::GpuReport& report) {
  Json versions = Json::object(), gpus = Json::array();
  for (const auto& [name, version] : report.versions) versions[name] = version;
  // "NCCL 2.28.3"
  if (const std::string nccl = comm::NcclVersion(); !nccl.empty()) {
    versions["NCCL"] = nccl.substr(nccl.find(' ') + 1);
  }
  for (const backend::Gpu& gpu : report.gpus) {
    gpus.push_back(
        {{"ordinal", gpu.ordinal},
         {"name", gpu.name},
         {"compute_capability", std::to_string(gpu.major) + "." + std::to_string(gpu.minor)},
         {"memory_bytes", gpu.memory},
         {"uuid", gpu.uuid},
         {"pci_bus_id", gpu.pci},
         {"unfit", TextOrNull(gpu.unfit)}});
  }
  return {{"program", TextOrNull(program)},
          {"versions", versions},
          {"gpus", gpus},
          {"problem", TextOrNull(report.problem)}};
}

Json CudaInfo() {
  const GpuHost host = ThisHost();
  if (backend::HasCuda()) return CudaInfoOf(host.program.string(), backend::DescribeGpus());
  if (HasCudaProgram(host)) return AskProgram(host.cuda_program.string());
  return CudaInfoOf("", backend::DescribeGpus());
}

std::vector<std::vector<std::string>> CudaRows(const Json& info) {
  const auto text = [&](const char* name) {
    return info.at(name).is_string() ? info.at(name).get<std::string>() : "";
  };
  std::string versions;
  for (const auto& [name, version] : info.at("versions").items()) {
    versions += (versions.empty() ? "" : ", ") + name + " " + version.get<std::string>();
  }
  std::vector<std::vector<std::string>> rows = {
      {"cuda", text("problem").empty() ? "in " + text("program") : text("problem")}};
  if (!versions.empty()) rows.push_back({"cuda versions", versions});
  for (const Json& gpu : info.at("gpus")) {
    rows.push_back({"gpu " + std::to_string(gpu.at("ordinal").get<int>()), GpuText(gpu)});
  }
  return rows;
}

}  // namespace syncbn::app
