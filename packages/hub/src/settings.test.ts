import { isValidTag } from '@mural/oci';
import { expect, it } from 'vitest';
import { rootTag } from './settings.ts';

it('gives every spoke a root of its own, however long its name', () => {
  const long = 'a'.repeat(200);
  expect(rootTag('edge-1')).toBe('spoke-edge-1');
  expect(isValidTag(rootTag(`${long}1`))).toBe(true);
  expect(rootTag(`${long}1`)).not.toBe(rootTag(`${long}2`));
});
