// Bundles of the command and of the threads that a run starts, written over what tsc has made of the
// same files. Node spends more time on finding and reading two hundred small modules than on a small
// run. Dependencies stay outside; everything else in dist/ stays as it is.
//
// A chunk lies as deep below dist/ as the modules it is made of, so that what they find by
// import.meta.url (worker files, the page, package.json) is where it was.

const output = { format: 'esm', minify: false }
/** What is not one of our files. */
const external = [/^(?![./]|[A-Za-z]:)/]
const common = { platform: 'node', logLevel: 'silent', external }

export default [
  {
    ...common,
    input: { 'cli/main': 'src/cli/main.ts' },
    output: { ...output, dir: 'dist/src', entryFileNames: '[name].js', chunkFileNames: 'chunks/[name].js' },
  },
  ...['scheduler', 'cpu'].map((worker) => ({
    ...common,
    input: `workers/${worker}.ts`,
    output: { ...output, file: `dist/workers/${worker}.js` },
  })),
]
