// What `npm run lint` asks of TypeScript and JavaScript: typescript-eslint's strict rules with types. Each rule that is
// off or relaxed has its reason beside it.
import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import globals from 'globals';
import tseslint from 'typescript-eslint';

export default defineConfig(
  globalIgnores(['build/', 'dist/', 'out/', 'coverage/']),
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    languageOptions: {
      globals: globals.node,
      parserOptions: { project: './tsconfig.lint.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      eqeqeq: 'error',
      'no-self-compare': 'error',
      '@typescript-eslint/consistent-type-exports': 'error',
      // `typeof import('./run.js')` is the type of a module that is loaded only when it is needed.
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      // The addon is loaded by require, and so is each subcommand, so that the command starts fast.
      '@typescript-eslint/no-require-imports': 'off',
      // tsconfig.json sets noUncheckedIndexedAccess, so `!` is how the code states that an index is in range.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // The rule takes callers at their declared types, and the library checks callers that have none. It also does
      // not see that a callback changes a variable.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // A function that is async without an await reports its errors by the promise, as its declaration promises.
      '@typescript-eslint/require-await': 'off',
      // `return report(...)` from a function without a result is an early exit.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      // `deferred<void>()` is a promise without a value.
      '@typescript-eslint/no-invalid-void-type': 'off',
      // `const { kind: _, ...rest }` leaves a property out.
      '@typescript-eslint/no-unused-vars': [
        'error',
        { ignoreRestSiblings: true, argsIgnorePattern: '^_', varsIgnorePattern: '^_$' },
      ],
      // A type parameter can name the type of a result, as commander's opts() does.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Whether a field of a failure or an event is there follows from another one, its type or its reason.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowNullish: true },
      ],
    },
  },
  {
    files: ['**/*.mjs', '**/*.cjs'],
    rules: {
      // JavaScript declares no types, so most values are `any` to these rules.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/restrict-plus-operands': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
      '@typescript-eslint/use-unknown-in-catch-callback-variable': 'off',
      // `const { once } = require('node:events')` takes a static method, which uses no `this`.
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    files: ['test/**'],
    rules: {
      // vitest's asymmetric matchers (expect.stringContaining) have the type `any`.
      '@typescript-eslint/no-unsafe-assignment': 'off',
    },
  },
);
