/** Options of Node.js for a child that runs a TypeScript file of ours: it loads it as this process does, compiled before or by tsx. */
export const LOADER: readonly string[] = process.execArgv.flatMap((option, i, all) => {
  if (option.startsWith('--import=')) return [option];
  return option === '--import' ? [option, all[i + 1]!] : [];
});
