// SHA-256 as FIPS 180-4, section 6.2, has it.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace edgekit {

class Sha256 {
  public:
    // The digest of `bytes` as 64 hexadecimal digits.
    static std::string of(std::string_view bytes) {
        Sha256 digest;
        std::size_t at = 0;
        for (; at + 64 <= bytes.size(); at += 64) digest.block(bytes.data() + at);
        // The rest, a one bit, zeros, and the length in bits as 64 bits, the high byte first.
        std::string tail(bytes.substr(at));
        tail += '\x80';
        tail.append((tail.size() <= 56 ? 56 : 120) - tail.size(), '\0');
        std::uint64_t const bits = std::uint64_t{bytes.size()} * 8;
        for (int shift = 56; shift >= 0; shift -= 8) tail += static_cast<char>(bits >> shift & 0xFF);
        for (at = 0; at < tail.size(); at += 64) digest.block(tail.data() + at);
        return digest.hexadecimal();
    }

  private:
    using Word = std::uint32_t;

    static Word turn(Word word, int by) { return word >> by | word << (32 - by); }

    void block(char const* bytes) {
        std::array<Word, 64> w;
        for (int i = 0; i < 16; ++i) {
            auto const* four = reinterpret_cast<unsigned char const*>(bytes) + 4 * i;
            w[i] = Word{four[0]} << 24 | Word{four[1]} << 16 | Word{four[2]} << 8 | four[3];
        }
        for (int i = 16; i < 64; ++i) {
            Word const low = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3;
            Word const high = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + low + w[i - 7] + high;
        }
        auto [a, b, c, d, e, f, g, h] = state_;
        for (int i = 0; i < 64; ++i) {
            Word const high = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
            Word const one = h + high + ((e & f) ^ (~e & g)) + kRounds[i] + w[i];
            Word const low = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
            Word const two = low + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + one, d = c, c = b, b = a, a = one + two;
        }
        std::array<Word, 8> const added = {a, b, c, d, e, f, g, h};
        for (int i = 0; i < 8; ++i) state_[i] += added[i];
    }

    std::string hexadecimal() const {
        std::string digits;
        for (Word const word : state_)
            for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[word >> shift & 0xF];
        return digits;
    }

    std::array<Word, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    static constexpr std::array<Word, 64> kRounds = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
};

}  // namespace edgekit
