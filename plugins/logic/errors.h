// What ek_last_error says, and the way in which every function of the ABI fails.
#pragma once
#include <string>

namespace ek::logic {

// Of this thread's last call that was not EK_OK.
inline thread_local std::string last_error;

inline int failed(int status, std::string why) {
    last_error = std::move(why);
    return status;
}

inline std::string missing_pointer(char const* name) {
    return std::string("expected a pointer for ") + name + ", found NULL";
}

}  // namespace ek::logic
