/** The layers of chairlift; see ARCHITECTURE.md. Lower layers never import higher ones. */
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'scheduler-is-pure',
      comment: 'scheduler/ imports only itself: no node:*, no npm, nothing of src/',
      severity: 'error',
      from: { path: '^scheduler/' },
      to: { pathNot: '^scheduler/' },
    },
    {
      name: 'engine-and-serving-below-http',
      severity: 'error',
      from: { path: '^src/(engine|serving|metrics|models|config)/' },
      to: { path: '^src/(http|overflow|batch|cli)/|^src/main\\.ts$' },
    },
    {
      name: 'http-below-main',
      severity: 'error',
      from: { path: '^src/(http|overflow|batch)/' },
      to: { path: '^src/cli/|^src/main\\.ts$' },
    },
    {
      name: 'native-internals-in-one-file',
      comment: 'only the model runtime may import node-llama-cpp',
      severity: 'error',
      from: { path: '^(src|scheduler|test)/', pathNot: '^src/engine/llama/|^src/models/' },
      to: { path: 'node_modules/node-llama-cpp' },
    },
    {
      name: 'adapters-are-built-in-main',
      comment: 'engines, the http server and metrics are constructed in src/main.ts alone',
      severity: 'error',
      from: { path: '^src/(http|serving|metrics|config|models)/' },
      to: { path: '^src/engine/(llama|simulated)/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'product-never-imports-tests-or-bench',
      severity: 'error',
      from: { path: '^(src|scheduler)/', pathNot: '^src/cli/' },
      to: { path: '^(test|bench)/' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
  },
};
