// Units of work shared out among threads, for the compiled parts of the package.
#pragma once

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace isojepa {

// GOMP_parallel of the OpenMP library that torch has loaded: its threads are awake after a matrix
// product, and a second pool would compete with them for the cores.
typedef void (*Parallel)(void (*)(void*), void*, unsigned, unsigned);

template <class Work>
struct Queue {
    const Work& work;
    const long units;
    std::atomic<long> next{0};
    static void drain(void* self) {
        Queue& queue = *static_cast<Queue*>(self);
        for (long unit; (unit = queue.next.fetch_add(1, std::memory_order_relaxed)) < queue.units;)
            queue.work(unit);
    }
};

template <class Work>
void for_each_unit(long units, int threads, Parallel parallel, const Work& work) {
    Queue<Work> queue{work, units};
    if (threads > units) threads = int(units);
    if (threads > 1 && parallel) return parallel(Queue<Work>::drain, &queue, unsigned(threads), 0);
    std::vector<std::thread> helpers;
    try {
        for (int i = 1; i < threads; ++i) helpers.emplace_back(Queue<Work>::drain, &queue);
    } catch (const std::system_error&) {  // fewer threads than asked for will do
    }
    Queue<Work>::drain(&queue);
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace isojepa
