#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/console.h"
#include "app/run/gpu_info.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "base/host.h"
#include "comm/nccl/nccl.h"

namespace syncbn::app {

void AddInfoCommand(CommandLine& line) {
  Command command = line.parser.add_subcommand(
      "info", "Show versions, instruction set, back ends and transports");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print one JSON object");
  command->callback([json] {
    if (*json) {
      nlohmann::ordered_json all = LibraryVersions();
      all["program"] = ProgramPath().string();
      all["build"] = ProgramDigest();
      all["host"] = HostName();
      all["cores"] = AvailableCores();
      all["cuda"] = CudaInfo();
      Say(stdout, "%s\n", all.dump().c_str());
      return;
    }
    std::vector<std::vector<std::string>> rows = {
        {"program", ProgramPath().string()},
        {"build", ProgramDigest()},
        {"host", HostName()},
        {"cores", std::to_string(AvailableCores()) + " usable"},
    };
    for (const auto& [name, version] : LibraryVersions()) rows.push_back({name, version});
    rows.push_back({"back ends", "cpu (float32), reference (float64, slow: the oracle of the tests)"});
    for (const auto& row : CudaRows(CudaInfo())) rows.push_back(row);
    rows.push_back({"exchanges", "in-process, mpi" + std::string(comm::HasNccl() ? ", nccl" : "")});
    Say(stdout, "%s", FormatTable(rows, {}).c_str());
  });
}

}  // namespace syncbn::app
