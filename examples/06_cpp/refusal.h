// What ends the program: one line, "expected ..., found ...; next: ...", and an exit code, those of edgekit itself.
#pragma once
#include <stdexcept>
#include <string>

namespace edgekit {

enum Exit { kFailed = 1, kUsage = 2, kTarget = 6, kIntegrity = 7 };

struct Refusal : std::runtime_error {
    Refusal(Exit code, std::string const& line) : std::runtime_error(line), code(code) {}
    Exit code;
};

}  // namespace edgekit
