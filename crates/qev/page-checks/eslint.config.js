// The page's style. Run with crates/qev as the folder, so that the page itself is below it.

import globals from "globals";

export default [
  { ignores: ["**/node_modules/"] },
  {
    files: ["page/**/*.js", "page-checks/**/*.{js,mjs}"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: { ecmaVersion: 2023, sourceType: "module" },
    rules: {
      "array-callback-return": "error",
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "no-constant-condition": "error",
      "no-constructor-return": "error",
      "no-duplicate-imports": "error",
      "no-else-return": "error",
      "no-eval": "error",
      "no-fallthrough": "error",
      "no-implicit-coercion": "error",
      "no-implied-eval": "error",
      "no-irregular-whitespace": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-promise-executor-return": "error",
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-template-curly-in-string": "error",
      "no-undef": "error",
      "no-unreachable-loop": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
      "require-atomic-updates": "error",
    },
  },
  {
    files: ["page/**/*.js"],
    languageOptions: { globals: globals.browser },
    rules: {
      "no-console": "error",
      // There is no way from a string to markup or to a program on the page.
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc", "write", "writeln", "setHTMLUnsafe", "createContextualFragment", "parseFromString"].map((property) => ({
          property,
          message: "What a guest wrote must not become markup: build elements (text.js).",
        })),
      ],
    },
  },
  { files: ["page/theme.js"], languageOptions: { sourceType: "script" } },
  { files: ["page-checks/**/*.{js,mjs}"], languageOptions: { globals: globals.node } },
  // In these, functions are handed to the browser.
  { files: ["page-checks/browser/**/*.mjs"], languageOptions: { globals: { ...globals.node, ...globals.browser } } },
];
