// Memory between guard pages: it ends right at one, so that the first byte behind it faults.
#pragma once
#include <cstddef>
#include <string>

namespace ek::emu {

// Of a guard: the next row of most matrices, and any frame of a kernel, still meets it. It costs addresses only.
constexpr size_t kGuard = 64 * 1024;

class Guarded {
  public:
    Guarded() = default;
    Guarded(Guarded&& other) noexcept;
    Guarded& operator=(Guarded&& other) noexcept;
    ~Guarded();

    // Rounds the size up to `align`, fills all with `poison`. Empty when the system gives none.
    static Guarded map(size_t bytes, size_t align, int poison);

    unsigned char* data() const { return data_; }
    size_t bytes() const { return bytes_; }
    // The address lies in the memory or in one of its guards.
    bool covers(void const* address) const;
    bool contains(void const* address, size_t bytes) const;
    void fill(int poison);
    // How many bytes of the rounding behind the end no longer have the poison, as a text; empty when none.
    std::string overrun() const;
    // "3 bytes behind the end of 64 bytes of `what`"
    std::string place(void const* address, char const* what) const;

  private:
    char* map_ = nullptr;
    size_t mapped_ = 0;
    unsigned char* data_ = nullptr;
    size_t bytes_ = 0;
    size_t room_ = 0;
    unsigned char poison_ = 0;
};

// FP16 NaNs, so that what was never written is seen in the result; 0xff is one in FP32 too.
constexpr int kSharedPoison = 0x7f;
constexpr int kDevicePoison = 0xff;

void* allocate_device(size_t bytes);
void free_device(void* pointer);
// Where an address of device memory lies; empty when it belongs to none.
std::string device_place(void const* address);
std::string device_overrun();

}  // namespace ek::emu
