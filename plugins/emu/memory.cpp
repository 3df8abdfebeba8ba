#include "emu/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>
#include <vector>

#include "emu/sanitizers.h"

namespace ek::emu {
namespace {

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

std::vector<Guarded>& device_memory() {
    static std::vector<Guarded> all;
    return all;
}

}  // namespace

Guarded::Guarded(Guarded&& other) noexcept { *this = std::move(other); }

Guarded& Guarded::operator=(Guarded&& other) noexcept {
    std::swap(map_, other.map_);
    std::swap(mapped_, other.mapped_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(room_, other.room_);
    std::swap(poison_, other.poison_);
    return *this;
}

Guarded::~Guarded() {
    if (map_ == nullptr) return;
    allow(data_, room_);
    munmap(map_, mapped_);
}

Guarded Guarded::map(size_t bytes, size_t align, int poison) {
    Guarded made;
    size_t const room = round_up(bytes, align);
    size_t const pages = round_up(room, size_t(sysconf(_SC_PAGESIZE)));
    size_t const total = pages + 2 * kGuard;
    void* const map = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return made;
    made.map_ = static_cast<char*>(map);
    made.mapped_ = total;
    if (pages != 0 && mprotect(made.map_ + kGuard, pages, PROT_READ | PROT_WRITE) != 0) return made;
    made.data_ = reinterpret_cast<unsigned char*>(made.map_ + kGuard + pages - room);
    made.bytes_ = bytes;
    made.room_ = room;
    made.fill(poison);
    return made;
}

bool Guarded::covers(void const* address) const {
    auto const byte = static_cast<char const*>(address);
    return byte >= map_ && byte < map_ + mapped_;
}

bool Guarded::contains(void const* address, size_t bytes) const {
    auto const byte = static_cast<unsigned char const*>(address);
    return byte >= data_ && byte + bytes <= data_ + bytes_;
}

void Guarded::fill(int poison) {
    poison_ = static_cast<unsigned char>(poison);
    if (room_ == 0) return;
    allow(data_, room_);
    std::memset(data_, poison, room_);
    forbid(data_ + bytes_, room_ - bytes_);
}

EK_UNTRACED std::string Guarded::overrun() const {
    // AddressSanitizer has refused such a store already, and would refuse this look.
    if (kFindsAddresses) return "";
    size_t changed = 0;
    for (size_t i = bytes_; i < room_; ++i) changed += data_[i] != poison_;
    if (changed == 0) return "";
    return std::to_string(changed) + " bytes behind the end of " + std::to_string(bytes_) + " bytes";
}

std::string Guarded::place(void const* address, char const* what) const {
    auto const byte = static_cast<unsigned char const*>(address);
    auto const of = " of " + std::to_string(bytes_) + " bytes of " + what;
    if (byte < data_) return std::to_string(data_ - byte) + " bytes before the start" + of;
    if (byte < data_ + bytes_) return "inside" + of;
    return std::to_string(byte - (data_ + bytes_)) + " bytes behind the end" + of;
}

void* allocate_device(size_t bytes) {
    Guarded made = Guarded::map(bytes, 16, kDevicePoison);
    if (made.data() == nullptr) return nullptr;
    device_memory().push_back(std::move(made));
    return device_memory().back().data();
}

void free_device(void* pointer) {
    auto& all = device_memory();
    for (size_t i = 0; i < all.size(); ++i) {
        if (all[i].data() != pointer) continue;
        std::swap(all[i], all.back());
        all.pop_back();
        return;
    }
}

std::string device_place(void const* address) {
    for (Guarded const& memory : device_memory())
        if (memory.covers(address)) return memory.place(address, "device memory");
    return "";
}

std::string device_overrun() {
    for (Guarded const& memory : device_memory())
        if (auto const text = memory.overrun(); !text.empty()) return text + " of device memory";
    return "";
}

}  // namespace ek::emu
