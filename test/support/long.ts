// Whether the tests run in their long form, `npm run test:long`: more ranks, more jobs, more combinations.

export const long = process.env['WIREUP_TEST_LONG'] === '1';
