// A small study for tests of sweeps: 24 points of a scenario that flushes on both of its CPUs.

export const SMALL_STUDY = `question: What does a flush cost?
vary:
  policy: [linux-4.6, linux-6.x]
  pages: [1, 2, 40]
  seed: {from: 1, to: 4}
scenario:
  cpus: 2
  machine: {memory: 64M}
  processes:
    - name: app
      threads:
        - name: main
          cpu: 0
          program:
            - mmap: {name: floor, pages: 1}
            - write: floor
            - repeat:
                times: 2
                do:
                  - mmap: {name: buf, pages: &pages 4}
                  - touch: {area: buf, write: true, pattern: random, count: 16}
                  - munmap: buf
            - signal: done
        - name: busy
          cpu: 1
          copies: rest
          program:
            - spin: done
  expect:
    - {counter: failedSyscalls, equals: 0}
`
export const SMALL_STUDY_POINTS = 24
