import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Who may import whom, as ARCHITECTURE.md draws it. A package that is not listed imports none of ours. */
const ARROWS = {
  core: [],
  oci: ['core'],
  kube: ['core'],
  values: ['core', 'oci'],
  registry: ['core', 'oci'],
  apiserver: ['core', 'kube'],
  hub: ['core', 'oci', 'kube', 'values'],
  spoke: ['core', 'oci', 'kube'],
  console: ['core', 'kube'],
  cli: ['core', 'oci', 'kube', 'values', 'registry', 'apiserver', 'hub', 'spoke', 'console'],
};

const packages = readdirSync('packages').filter((name) => !name.startsWith('.'));

const importRules = packages.map((name) => ({
  files: [`packages/${name}/src/**/*.ts`],
  ignores: [`packages/${name}/src/**/*.test.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^@mural/(?!(?:${[...(ARROWS[name] ?? []), '-'].join('|')})(?:/|$))`,
            message: `packages/${name} may import only: ${(ARROWS[name] ?? []).join(', ') || 'nothing of ours'}.`,
          },
          { regex: '^@mural/[^/]+/(?!testing$)', message: 'Import the public face of a package.' },
          { regex: '^(?:\\.\\./){2,}', message: 'Reach another package by its name.' },
        ],
      },
    ],
  },
}));

const declared = Object.fromEntries(
  packages.map((name) => {
    const manifest = JSON.parse(readFileSync(`packages/${name}/package.json`, 'utf8'));
    return [name, Object.keys(manifest.dependencies ?? {})];
  }),
);
for (const [name, dependencies] of Object.entries(declared)) {
  const stray = dependencies
    .filter((dependency) => dependency.startsWith('@mural/'))
    .filter((dependency) => !(ARROWS[name] ?? []).includes(dependency.slice('@mural/'.length)));
  if (stray.length > 0)
    throw new Error(`packages/${name}/package.json lists ${stray.join(', ')}: not an arrow`);
}

export default defineConfig(
  { ignores: ['node_modules/**', 'dist/**', 'coverage/**', '**/generated/**', '**/*.mjs', '**/*.js'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true, argsIgnorePattern: '^_' }],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/require-await': 'off',
      'no-restricted-syntax': ['error', { selector: 'ExportDefaultDeclaration', message: 'Export by name.' }],
      complexity: ['error', 15],
      'max-depth': ['error', 4],
      'max-lines': ['error', { max: 450, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', 5],
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  ...importRules,
  {
    files: ['**/*.test.ts', 'test/**', 'bench/**', 'scripts/**', '*.config.ts'],
    rules: {
      'max-lines-per-function': 'off',
      'max-lines': ['error', { max: 700, skipBlankLines: true, skipComments: true }],
      'no-console': 'off',
      'no-restricted-syntax': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
);
