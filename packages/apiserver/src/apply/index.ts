export {
  type ApplyRequest,
  type ObjectFields,
  serverSideApply,
  trackUpdate,
  type UpdateRequest,
} from './apply.ts';
export { type ApplyConflict, ApplyConflictError, ApplyInvalidError, conflictCause } from './errors.ts';
