// The emulator's device memory: exactly as large as asked for, between guard pages, NaN until written.
#pragma once
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

extern "C" {
void* ek_emu_alloc(size_t bytes);
void ek_emu_free(void* pointer);
void ek_emu_sm(int sm);
}

namespace ek::harness {

class DeviceMemory {
  public:
    explicit DeviceMemory(size_t bytes) : pointer_(bytes ? ek_emu_alloc(bytes) : nullptr) {}
    explicit DeviceMemory(std::string const& bytes) : DeviceMemory(bytes.size()) {
        if (pointer_) std::memcpy(pointer_, bytes.data(), bytes.size());
    }
    DeviceMemory(DeviceMemory&& other) noexcept : pointer_(std::exchange(other.pointer_, nullptr)) {}
    ~DeviceMemory() {
        if (pointer_) ek_emu_free(pointer_);
    }

    // Of nothing, an address that must not be touched: TensorRT promises none.
    void* get() const { return pointer_ ? pointer_ : reinterpret_cast<void*>(16); }

  private:
    void* pointer_;
};

}  // namespace ek::harness
