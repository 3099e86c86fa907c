// Whether the tests run in their long form, `npm run test:long`, with more ranks, more jobs and more combinations.

export const long = process.env['WIREUP_TEST_LONG'] === '1';
