// The threads that can go on, in the order of the schedule. A thread that becomes ready waits for the next round.
#pragma once
#include <memory>

#include "emu/sanitizers.h"

namespace ek::emu {

enum Schedule { kForward = 0, kReverse = 1, kRandom = 2 };

// SplitMix64: the same numbers on every machine.
class Random {
  public:
    void seed(unsigned long long value) { state_ = value; }
    EK_UNTRACED unsigned below(unsigned limit) {
        unsigned long long z = state_ += 0x9e3779b97f4a7c15ull;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        return unsigned(((z ^ z >> 31) >> 32) * limit >> 32);
    }

  private:
    unsigned long long state_ = 0;
};

// Puts 0..count-1, or what is in `items` already, into the order of the schedule.
EK_UNTRACED inline void put_in_order(int* items, int count, int schedule, Random& random) {
    for (int i = count - 1; i > 0 && schedule == kRandom; --i) {
        int const other = int(random.below(unsigned(i) + 1));
        int const item = items[i];
        items[i] = items[other];
        items[other] = item;
    }
    for (int i = 0; i < count / 2 && schedule == kReverse; ++i) {
        int const item = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = item;
    }
}

class Ready {
  public:
    void seed(int schedule, unsigned seed) {
        schedule_ = schedule;
        random_.seed(seed);
    }

    // Empty, for so many threads.
    void reset(int threads) {
        words_ = (threads + 63) / 64;
        next_ = std::make_unique<unsigned long long[]>(size_t(words_));
        round_ = std::make_unique<int[]>(size_t(threads));
        next_words_ = next_.get();
        round_items_ = round_.get();
        size_ = taken_ = 0;
    }

    EK_UNTRACED void add(int thread) { next_words_[thread / 64] |= 1ull << thread % 64; }

    // The thread to run, -1 when none is ready.
    EK_UNTRACED int take() {
        if (taken_ == size_) start_round();
        return taken_ == size_ ? -1 : round_items_[taken_++];
    }

    // In random schedules, whether the thread that completed a barrier goes on at once.
    EK_UNTRACED bool goes_on() { return schedule_ != kRandom || random_.below(2) == 0; }

    void order_blocks(int* blocks, int count) { put_in_order(blocks, count, schedule_, random_); }

  private:
    EK_UNTRACED void start_round() {
        size_ = taken_ = 0;
        for (int word = 0; word < words_; ++word) {
            for (unsigned long long bits = next_words_[word]; bits != 0; bits &= bits - 1)
                round_items_[size_++] = word * 64 + __builtin_ctzll(bits);
            next_words_[word] = 0;
        }
        put_in_order(round_items_, size_, schedule_, random_);
    }

    std::unique_ptr<unsigned long long[]> next_;
    std::unique_ptr<int[]> round_;
    // The same memory: the pointers' own operators would be traced.
    unsigned long long* next_words_ = nullptr;
    int* round_items_ = nullptr;
    int words_ = 0;
    int size_ = 0;
    int taken_ = 0;
    int schedule_ = kForward;
    Random random_;
};

}  // namespace ek::emu
