// torch's CPU memory for large tensors, apart from everything small and kept when freed.
//
// A general allocator puts a few bytes of Python's or of autograd's into the hole that a large tensor leaves, and the
// next step's tensor no longer fits there. Here large blocks have a stretch of address space of their own: each takes
// the smallest hole that it fits, holes that meet become one, and the stretch grows at its end when none is left.

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unordered_map>

#include <c10/core/CPUAllocator.h>

namespace {

constexpr size_t GRAIN = 64, GROWTH = size_t(4) << 20;

class Stretch {
public:
    Stretch() : room_(2 * size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGE_SIZE))) {
        // Addresses only: memory comes with the first touch of what is opened.
        void* start = mmap(nullptr, room_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        start_ = start == MAP_FAILED ? nullptr : static_cast<char*>(start);
    }

    bool usable() const { return start_ != nullptr; }

    bool holds(const void* at) const { return at >= start_ && at < start_ + room_; }

    // Null where the stretch is full or the system gives no more.
    void* take(size_t bytes) {
        // Lengths of whole pages would put every block at the same place of a page, which the caches dislike.
        bytes = (bytes + GRAIN - 1) / GRAIN * GRAIN + GRAIN;
        const std::lock_guard<std::mutex> guard(mutex_);
        auto best = holes_.end();
        for (auto hole = holes_.begin(); hole != holes_.end(); ++hole)
            if (hole->second >= bytes && (best == holes_.end() || hole->second < best->second)) best = hole;
        if (best == holes_.end()) {
            best = grow(bytes);
            if (best == holes_.end()) return nullptr;
        }
        const size_t at = best->first, rest = best->second - bytes;
        holes_.erase(best);
        if (rest) holes_.emplace(at + bytes, rest);
        blocks_.emplace(at, bytes);
        return start_ + at;
    }

    void give_back(void* block) {
        const std::lock_guard<std::mutex> guard(mutex_);
        const auto known = blocks_.find(static_cast<char*>(block) - start_);
        add_hole(known->first, known->second);
        blocks_.erase(known);
    }

    void measure(long* held, long* opened) {
        const std::lock_guard<std::mutex> guard(mutex_);
        *held = 0;
        for (const auto& block : blocks_) *held += block.second;
        *opened = end_;
    }

    std::mutex& mutex() { return mutex_; }

private:
    std::map<size_t, size_t>::iterator add_hole(size_t at, size_t bytes) {
        auto next = holes_.lower_bound(at);
        if (next != holes_.end() && at + bytes == next->first) {
            bytes += next->second;
            next = holes_.erase(next);
        }
        if (next != holes_.begin()) {
            const auto before = std::prev(next);
            if (before->first + before->second == at) {
                before->second += bytes;
                return before;
            }
        }
        return holes_.emplace_hint(next, at, bytes);
    }

    std::map<size_t, size_t>::iterator grow(size_t bytes) {
        const auto last = holes_.empty() ? holes_.end() : std::prev(holes_.end());
        const size_t spare = last != holes_.end() && last->first + last->second == end_ ? last->second : 0;
        const size_t more = (bytes - spare + GROWTH - 1) / GROWTH * GROWTH;
        if (more > room_ - end_ || mprotect(start_ + end_, more, PROT_READ | PROT_WRITE)) return holes_.end();
        end_ += more;
        return add_hole(end_ - more, more);
    }

    const size_t room_;
    char* start_;
    size_t end_ = 0;  // of what is opened
    std::map<size_t, size_t> holes_;
    std::unordered_map<size_t, size_t> blocks_;
    std::mutex mutex_;
};

// It outlives every tensor, some of which are freed while the process ends.
Stretch& stretch() {
    static Stretch* const only = new Stretch;
    return *only;
}

void release(void* block) {
    if (stretch().holds(block)) {
        c10::profiledCPUMemoryReporter().Delete(block);
        stretch().give_back(block);
    } else {
        c10::GetDefaultCPUAllocator()->raw_deallocate(block);
    }
}

class LargeBlocks final : public c10::Allocator {
public:
    explicit LargeBlocks(size_t smallest) : smallest_(smallest) {}

    c10::DataPtr allocate(size_t bytes) override {
        void* block = bytes < smallest_ ? nullptr : stretch().take(bytes);
        if (block)
            c10::profiledCPUMemoryReporter().New(block, bytes);
        else
            block = c10::GetDefaultCPUAllocator()->raw_allocate(bytes);
        return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
    }

    c10::DeleterFnPtr raw_deleter() const override { return &release; }

    void copy_data(void* to, const void* from, size_t count) const override { default_copy_data(to, from, count); }

private:
    const size_t smallest_;
};

}  // namespace

// Have torch's CPU tensors of `smallest` bytes or more come from here; whether there is address space for it.
extern "C" bool take_large_blocks(long smallest) {
    if (!stretch().usable()) return false;
    // A fork while another thread holds the lock would leave it locked in the child for good.
    pthread_atfork([] { stretch().mutex().lock(); }, [] { stretch().mutex().unlock(); }, [] { stretch().mutex().unlock(); });
    c10::SetCPUAllocator(new LargeBlocks(smallest), 1);
    return true;
}

// Bytes of all blocks, and from the first to the end of the last that ever was.
extern "C" void measure_large_blocks(long* held, long* opened) { stretch().measure(held, opened); }
